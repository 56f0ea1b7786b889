"""What a person calls the browser or program that a User-Agent is of."""

# The first that occurs: many name others whom they resemble ("Chrome … Safari … Edg").
_PROGRAMS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python-requests/", "Python"),
    ("python-httpx/", "Python"),
    ("Go-http-client/", "Go"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def device_name(user_agent: str) -> str:
    """ "Firefox on Linux"; its first word for what isn't known. It says what the program claims, no more."""
    program = next((name for part, name in _PROGRAMS if part in user_agent), "")
    system = next((name for part, name in _SYSTEMS if part in user_agent), "")
    if program and system:
        return f"{program} on {system}"
    return program or system or user_agent.partition(" ")[0].partition("/")[0][:40] or "Unknown device"
