"""Names that a rewriter cannot choose: builtins, methods of tensors and arrays, hooks of the frameworks.

A rename keeps them, so they belong to the structure of a piece of code and are hashed with it. Every other name is
blanked in a structure's hash and compared by the rename map.
"""

from __future__ import annotations

import builtins

_TENSOR_METHODS = """
abs add add_ all allclose amax amin any arange argmax argmin argsort astype backward bernoulli bfloat16 bmm bool
broadcast_to ceil chunk clamp clamp_ clamp_min clip clone concat conj contiguous copy_ cos cpu cuda cummax cumprod
cumsum data deepcopy detach device diag diagonal diff dim div div_ double dtype einsum element_size eq equal erf exp
expand expand_as fill_ finfo flatten flip float float16 float32 floor full gather ge grad gt half imag index_add
index_add_ index_copy_ index_fill index_put index_select int int32 int64 is_contiguous is_cuda is_floating_point
isfinite isinf isnan item itemsize le lerp log log1p log2 logical_and logical_not logical_or logsumexp long lt
masked_fill masked_fill_ masked_scatter masked_select matmul max mean median min mm mul mul_ multinomial narrow ndim
ne neg new_empty new_full new_ones new_tensor new_zeros nonzero norm normal_ numel numpy outer permute pin_memory pow
prod ravel real reciprocal relu repeat repeat_interleave requires_grad requires_grad_ reshape roll round rsqrt scatter
scatter_ scatter_add scatter_add_ select shape sigmoid sign sin size softmax sort split sqrt square squeeze stack std
stride sub sum swapaxes swapdims t tanh tensor_split tile to tolist topk transpose tril triu type type_as unbind
unflatten unfold uniform_ unique unsqueeze unsqueeze_ var view view_as where zero_ zeros
"""

_MODULE_METHODS = """
add_module apply buffers children eval extra_repr forward load_state_dict modules named_buffers named_children
named_modules named_parameters parameters register_buffer register_forward_hook register_module register_parameter
state_dict train training weight bias
"""

_CONTAINER_METHODS = """
append clear copy count decode encode endswith extend format get group index insert isdigit items join keys lower
lstrip match pop popitem read remove replace reverse rsplit rstrip search setdefault split startswith strip sub
title update upper values write
"""

METHODS = frozenset(f"{_TENSOR_METHODS} {_MODULE_METHODS} {_CONTAINER_METHODS}".split())
BUILTINS = frozenset(dir(builtins))

# The package whose models are copied: what a file imports from it, or by a relative path, is a name like any other.
PORTED = frozenset({"transformers", "vllm", "src"})

LOGGING = frozenset({"logger", "logging", "log", "warnings"})


def fixed_attribute(name: str) -> bool:
    """Return whether an attribute of this name is one that a rename keeps."""
    return name in METHODS or (name.startswith("__") and name.endswith("__"))
