# Maintenance windows by another program and another library of time zones.
#
#	python3 windows.py FIRST_YEAR LAST_YEAR ZONE...
#
# For some windows in each zone, one line each: zone, rule, start, duration in
# seconds, elapsed, from, excluded dates, then when it opens and closes, in turn
# and in seconds since 1970, then the zone's changes of offset.  Tabs are
# between, as COPY has them; lists are PostgreSQL's.
import datetime
import sys
import zoneinfo

UTC = datetime.timezone.utc
DAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU']
DAY = datetime.timedelta(days=1)

# rule, start, duration, elapsed, from, excluded
WINDOWS = [
    ('FREQ=DAILY', '02:30', 3600, False, None, []),
    ('FREQ=DAILY', '02:15', 2 * 3600, True, None, []),
    ('FREQ=DAILY', '00:00', 1800, True, None, []),
    ('FREQ=DAILY', '23:50', 6 * 3600, False, None, ['2024-02-28/2024-03-31', '2030-10-26']),
    ('FREQ=DAILY;BYDAY=FR,SA,SU;BYMONTHDAY=-1,25,26,27,28', '01:30', 5400, False, None, []),
    ('FREQ=WEEKLY;BYDAY=SU,SA', '23:45:30', 26 * 3600, False, None, []),
    ('FREQ=WEEKLY;INTERVAL=3;BYDAY=SU,MO', '22:00', 5 * 3600, False, '2021-03-03', []),
    ('FREQ=MONTHLY;BYDAY=2SU,-1SU,1SU,-1FR,5SA', '00:00', 4 * 3600, False, None, []),
    ('FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=1,31,-1', '01:45', 7 * 86400, False, '2020-03-15', []),
    ('FREQ=MONTHLY;BYDAY=TH,FR,SA,SU;BYMONTHDAY=-7,-6,-5,-4,-3,-2', '03:00', 86400, True, None, []),
    ('FREQ=DAILY;INTERVAL=5;UNTIL=20311103', '00:30', 3600, False, '2020-10-01', []),
    ('FREQ=WEEKLY;BYDAY=SU;UNTIL=20301027T003000Z', '02:30', 3600, False, None, []),
]


def parts_of(rule):
    return dict(part.split('=') for part in rule.split(';'))


def nth_weekday(day, number, name):
    """Whether a day is the nth, or nth last, such day of its month."""
    first = day.replace(day=1)
    days = [first + i * DAY for i in range(31)]
    days = [d for d in days if d.month == day.month and DAYS[d.weekday()] == name]
    index = number - 1 if number > 0 else number
    return -len(days) <= index < len(days) and days[index] == day


def picked(day, parts, origin, excluded):
    interval = int(parts.get('INTERVAL', '1'))
    if origin is not None and day < origin:
        return False
    if 'UNTIL' in parts and len(parts['UNTIL']) == 8 and day.strftime('%Y%m%d') > parts['UNTIL']:
        return False
    if any(first <= day.isoformat() <= last for first, last in excluded):
        return False
    if 'BYDAY' in parts:
        words = parts['BYDAY'].split(',')
        if not any(DAYS[day.weekday()] == w if len(w) == 2 else nth_weekday(day, int(w[:-2]), w[-2:]) for w in words):
            return False
    if 'BYMONTHDAY' in parts:
        last = ((day.replace(day=28) + 4 * DAY).replace(day=1) - DAY).day
        wanted = [int(n) if int(n) > 0 else last + 1 + int(n) for n in parts['BYMONTHDAY'].split(',')]
        if day.day not in wanted:
            return False
    if interval == 1:
        return True
    if parts['FREQ'] == 'DAILY':
        return (day - origin).days % interval == 0
    if parts['FREQ'] == 'WEEKLY':
        monday = origin - origin.weekday() * DAY
        return (day - monday).days // 7 % interval == 0
    return (day.year * 12 + day.month - origin.year * 12 - origin.month) % interval == 0


def is_real(local, moment, zone):
    return moment.astimezone(zone).replace(tzinfo=None) == local


def first_showing(local, zone):
    """The first moment at which the wall shows a time, or more after a gap."""
    moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if is_real(local, moment, zone):
        return moment
    low, high = moment - 2 * DAY, moment + DAY
    while high - low > datetime.timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) >= local:
            high = middle
        else:
            low = middle
    return high


def opening(day, start, seconds, elapsed, zone):
    local = datetime.datetime.combine(day, start)
    moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if not is_real(local, moment, zone):
        morning = datetime.datetime.combine(day, datetime.time())
        if first_showing(morning, zone) == first_showing(morning + DAY, zone):
            return None
    if elapsed:
        return moment, moment + datetime.timedelta(seconds=seconds)
    shown = moment.astimezone(zone).replace(tzinfo=None)
    return moment, first_showing(shown + datetime.timedelta(seconds=seconds), zone)


def runs(zone, window, begin, finish):
    rule, start, seconds, elapsed, origin, excluded = window
    parts = parts_of(rule)
    start = datetime.time.fromisoformat(start)
    origin = origin and datetime.date.fromisoformat(origin)
    excluded = [(e.split('/') * 2)[:2] for e in excluded]
    until = parts.get('UNTIL', '')
    merged = []
    day = begin.date() - 10 * DAY
    while day <= finish.date() + 2 * DAY:
        found = picked(day, parts, origin, excluded) and opening(day, start, seconds, elapsed, zone)
        if found and not (len(until) > 8 and found[0].strftime('%Y%m%dT%H%M%SZ') > until):
            if merged and found[0] <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], found[1])
            else:
                merged.append(list(found))
        day += DAY
    return [(int(o.timestamp()), int(c.timestamp())) for o, c in merged]


def changes(zone, begin, finish):
    result = []
    moment = begin
    while moment < finish:
        after = moment + DAY
        if moment.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            result.append(int(moment.timestamp()))
        moment = after
    return result


def main():
    begin = datetime.datetime(int(sys.argv[1]), 1, 1, tzinfo=UTC)
    finish = datetime.datetime(int(sys.argv[2]) + 1, 1, 1, tzinfo=UTC)
    for name in sys.argv[3:]:
        zone = zoneinfo.ZoneInfo(name)
        moved = changes(zone, begin, finish)
        for window in WINDOWS:
            rule, start, seconds, elapsed, origin, excluded = window
            flat = [t for run in runs(zone, window, begin, finish) for t in run]
            print(name, rule, start, seconds, 't' if elapsed else 'f', origin or r'\N', '{%s}' % ','.join(excluded),
                  '{%s}' % ','.join(map(str, flat)), '{%s}' % ','.join(map(str, moved)), sep='\t')


main()
