-- Admits lots of hits one after another, each lot as a whole or not at all: memory/windows.py says
-- how a window is counted, and both must decide alike.
--
-- KEYS: where the windows are kept.
-- ARGV: the parts of a window; then for each lot the number of its hits, and for each of them which
-- of KEYS it counts in, amount and seconds of the limit, and its cost.
-- Gives the time in microseconds, and for each lot: which of its hits it is told of, what remains of
-- that limit, the time until it is reset, and the time to wait: -1 for none, -2 for ever.

local PARTS = tonumber(ARGV[1])
local NONE, FOREVER = -1, -2
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
-- By their place in KEYS. The parts of one are how much counts in all, and then, oldest first, two
-- numbers for each part that had any: which it is, and how much came in it.
local windows = {}

local function bring_back(window)
  local parts = window.parts
  local ahead = #parts > 1 and parts[#parts - 1] - window.part or 0
  -- The clock was put back, or another machine has taken over: what came last has come now.
  if ahead > 0 then
    for n = 2, #parts, 2 do
      parts[n] = parts[n] - ahead
    end
  end
end

local function forget(window)
  local parts, first = window.parts, 2
  while parts[first] and parts[first] + PARTS < window.part do
    parts[1] = parts[1] - parts[first + 1]
    first = first + 2
  end
  if first > 2 then
    window.parts = {parts[1], unpack(parts, first)}
  end
end

local function window_at(place, amount, seconds)
  if windows[place] then
    return windows[place]
  end
  local width = seconds * 1000000 / PARTS
  local made = {amount = amount, width = width, part = math.floor(now / width), changed = false}
  local kept = redis.call('GET', KEYS[place])
  made.parts = kept and cmsgpack.unpack(kept) or {0}
  bring_back(made)
  forget(made)
  windows[place] = made
  return made
end

local function time_to_end(window, part)
  return (part + 1 + PARTS) * window.width - now
end

local function wait(window, cost)
  local excess = window.parts[1] + cost - window.amount
  if excess <= 0 then
    return 0
  end
  for n = 2, #window.parts, 2 do
    excess = excess - window.parts[n + 1]
    if excess <= 0 then
      return time_to_end(window, window.parts[n])
    end
  end
  return math.huge
end

local function add(window, cost)
  local parts = window.parts
  parts[1] = parts[1] + cost
  if #parts > 1 and parts[#parts - 1] == window.part then
    parts[#parts] = parts[#parts] + cost
  else
    table.insert(parts, window.part)
    table.insert(parts, cost)
  end
  window.changed = true
end

local function told(hit, window, waited)
  local parts = window.parts
  local reset = #parts > 1 and time_to_end(window, parts[#parts - 1]) or 0
  return {hit, window.amount - window.parts[1], reset, waited}
end

local function admit(hits)
  local longest, refusing = 0, nil
  for n, hit in ipairs(hits) do
    local waited = wait(hit.window, math.max(hit.cost, 1))
    if waited > longest then
      longest, refusing = waited, n
    end
  end
  if refusing then
    return told(refusing, hits[refusing].window, longest == math.huge and FOREVER or longest)
  end
  local nearest, least = 1, math.huge
  for n, hit in ipairs(hits) do
    local window = hit.window
    if hit.cost > 0 then
      add(window, hit.cost)
    end
    local share = (window.amount - window.parts[1]) / window.amount
    if share < least then
      nearest, least = n, share
    end
  end
  return told(nearest, hits[nearest].window, NONE)
end

local answers = {now}
local at = 2
while at <= #ARGV do
  local hits = {}
  for n = 1, tonumber(ARGV[at]) do
    local place, amount, seconds, cost = unpack(ARGV, at + 4 * n - 3, at + 4 * n)
    local window = window_at(tonumber(place), tonumber(amount), tonumber(seconds))
    hits[n] = {window = window, cost = tonumber(cost)}
  end
  table.insert(answers, admit(hits))
  at = at + 4 * #hits + 1
end

for place, window in pairs(windows) do
  if window.changed then
    local milliseconds = math.ceil((PARTS + 2) * window.width / 1000)
    redis.call('SET', KEYS[place], cmsgpack.pack(window.parts), 'PX', milliseconds)
  end
end
return answers
