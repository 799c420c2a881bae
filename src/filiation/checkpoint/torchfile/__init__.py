"""PyTorch's own files (.bin, .pt, .pth), read without torch and without running anything they ask for."""
