"""Containers that files from elsewhere are stored in, read without trust: HDF5, MATLAB, NumPy, pickle, XML.

Every size is checked against the bytes that are there before memory is taken for it, nothing in a file is run, nothing outside
it is read, and what a library makes of damaged bytes becomes an error of ours. The readers of formats build on these.
"""
