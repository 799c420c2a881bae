"""Wing tokenizer: how the tokenizers of two model repositories are related, and which public ones explain it.

Same, extended, pruned, re-ordered, re-trained or unrelated; never a statement about weights.
"""

from filiation.tokenizer.compare import compare, published_as, recognise
from filiation.tokenizer.model import Explanation, TokenizerFinding, TokenizerRelation

__all__ = ["Explanation", "TokenizerFinding", "TokenizerRelation", "compare", "published_as", "recognise"]
