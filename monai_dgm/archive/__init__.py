"""Many radiographs, on one machine or a Ray cluster, into Parquet and DICOM objects: ``monai-dgm archive``.

It may import data, engines, labelling, metrics, readers and transforms; the command imports it. Ray and pyarrow are
imported when a run needs them.
"""
