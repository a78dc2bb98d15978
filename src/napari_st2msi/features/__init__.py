"""What models see of genes and ions; everything is fitted on training spots only."""
