CUT = "\n…\n"

def truncate_middle(ids, limit, cut):
    if len(ids) <= limit:
        return list(ids), False
    if limit <= len(cut) + 1:
        return list(ids[:limit]), True
    room = limit - len(cut)
    head = (room * 2 + 2) // 3
    tail = room - head
    return [*ids[:head], *cut, *(ids[-tail:] if tail else [])], True
