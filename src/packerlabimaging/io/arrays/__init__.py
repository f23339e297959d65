"""Movies in files that hold arrays by name: HDF5 and Zarr, of any program."""
