"""Source trees and text files cut into records, by tree-sitter grammars."""
