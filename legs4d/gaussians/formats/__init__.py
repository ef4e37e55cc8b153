"""Other programs' splat files: glTF, USD, SOG, folders of 4DGaussians."""
