"""A user's own studies: BIDS and DICOM, translation of files and of whole studies, pages of quality control."""
