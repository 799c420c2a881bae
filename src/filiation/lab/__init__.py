"""Real small lineages, laundering attacks and null calibration.

Nothing here is needed to compare two models. The rest of the toolkit is tested against what this room breeds:
models that were really trained, and children made from them in ways whose answer is known.

`derive`, `recode`, `launder`, `forward`, `history` and `save` need numpy alone. `text` needs only the standard library.
`bpe`, `llama` and `train` need the extra `lab` (tokenizers, torch) and import it inside functions.
"""
