"""The layouts of the `esp_secure_cert` partition: bytes in, items out, and back.

Nothing here opens a file, prints, or decides what is acceptable.
"""
