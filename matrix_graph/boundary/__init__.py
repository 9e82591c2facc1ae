"""The boundary: the one place where files, databases and answers of strangers come in, and where
text goes out to terminals, files and prompts. SECURITY.md says what each of its parts promises.
"""
