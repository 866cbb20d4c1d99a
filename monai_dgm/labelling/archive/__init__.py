"""Studies of a DICOMweb archive: found, cached, answered with results, and read back as reports."""
