"""Where the languages let a name be defined."""

SUPER = {"super", "base", "parent"}
# All files of a folder see each other's names.
FOLDER_WIDE = {"go", "java", "kotlin", "scala", "csharp", "swift"}
# A bare name may be defined in any file of the tree.
TREE_WIDE = {
    "c",
    "cpp",
    "ruby",
    "php",
    "shell",
    "csharp",
    "swift",
    "kotlin",
    "scala",
    "javascript",
    "typescript",
    "tsx",
}
# The members of one class may be in several files.
OPEN_CLASSES = {"rust", "cpp", "csharp", "ruby", "swift", "kotlin"}
