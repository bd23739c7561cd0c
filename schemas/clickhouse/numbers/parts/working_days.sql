-- The working days of [calendar_from, calendar_to); these two and `calendar` are names that the number which holds this text defines.
(SELECT arrayFilter(
    day -> has(calendar.3, day) OR (has(calendar.1, toDayOfWeek(day)) AND NOT has(calendar.2, day)),
    arrayMap(offset -> calendar_from + offset, range(toUInt32(calendar_to - calendar_from)))))
