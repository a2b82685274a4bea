"""How files and folders are kept by whoever keeps any: coordinator, nodes, participants, runs.

ownership   one owner at a time in a folder
drafts      a file is whole or not there; where it is trusted to the disk, synced
arrays      arrays as a safetensors file
trouble     what a user is told when the disk says no
"""
