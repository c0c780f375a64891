"""The torch models, a file each. They know neither loss nor optimiser nor distribution."""
