"""A blinded reader study of images in pairs: ``python -m monai_dgm.reader_study make | serve | score``.

A reader sees two images side by side and chooses the more realistic one, as in Table 3 of the paper. It may import
metrics and report; nothing imports it. No module of it imports PyTorch. FastAPI and uvicorn come with the extra
``study``.
"""
