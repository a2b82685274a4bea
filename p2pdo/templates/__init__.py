"""What `p2pdo new` starts a project from: for each template a module and its test.

A template is a folder of files whose names and texts hold PROJECT where the project's name comes.
Each is code that runs as it stands, so it is checked as all other code is.
"""
