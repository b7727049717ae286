"""Texts of every kind that a conversation has."""

MIXED = [
    "hi",
    "",
    " ",
    "What did Caroline say about the support group last week?",
    "Hey Mel! Good to see you! How have you been? 😊",
    "Ça alors, où est la bibliothèque?",
    "画一只猫 and 안녕하세요 и привет, שלום",
    "👩‍👩‍👧‍👦 family",
    "a\0b \t tab\r\nnew line",
    "https://example.org/path?query=1&other=2#fragment",
    "def f(x: int) -> int:\n    return x ** 2  # comment",
    "$1,234.56 on 2024-03-07T12:34:56Z, or 3/7?",
    "x" * 500,
    "word " * 254,
    "The quick brown fox jumps over the lazy dog. " * 12,
    "One sentence of moderate length about painting a sunset at the lake. " * 100,
]
LENGTHS = [" ".join(f"w{i * 7 % 97}" for i in range(length)) for length in range(1, 120, 3)]
