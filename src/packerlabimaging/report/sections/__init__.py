"""The package's own report sections; entry points name their classes."""
