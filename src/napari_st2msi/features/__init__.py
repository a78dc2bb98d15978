"""Features: what models see of genes and ions, always fitted on training spots only."""
