"""The work itself: functions that take data and return a result. A library in its own right; nothing here prints."""
