"""DICOM files: from bytes that nobody vouches for to pixels that can be trusted."""
