-- Runs commands if each check, which is a reading command, has the expected reply. ARGV contains, in this order:
--   the number of checks
--   for each check: its arguments, and the expected values ('$' and the value, or '' for a missing value)
--   the number of commands
--   for each command: its arguments
-- The length of each list of arguments or values precedes the list. Returns 1 if the commands ran, otherwise 0.

local position = 0
local function take()
  position = position + 1
  return ARGV[position]
end
local function take_list()
  local list = {}
  for index = 1, tonumber(take()) do list[index] = take() end
  return list
end

for _ = 1, tonumber(take()) do
  local command, expected = take_list(), take_list()
  local reply = redis.call(unpack(command))
  if type(reply) ~= 'table' then reply = {reply} end
  if #reply ~= #expected then return 0 end
  local members = {}
  for index = 1, #reply do
    local value = reply[index] and '$' .. reply[index] or ''
    members[value] = true
    if command[1] ~= 'SMEMBERS' and value ~= expected[index] then return 0 end
  end
  for _, value in ipairs(expected) do -- the members of a set have no order
    if not members[value] then return 0 end
  end
end
for _ = 1, tonumber(take()) do redis.call(unpack(take_list())) end
return 1
