"""Source trees and text files split into records, by tree-sitter grammars."""
