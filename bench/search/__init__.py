"""How well functions are found by what their authors say of them, by ways of searching."""
