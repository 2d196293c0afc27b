-- Every move of a record, as design has it: one call of this script is one atomic step, and nobody else writes `state`.
-- ARGV: move, now ('' = the server's own clock), the schema that the caller understands, then the move's arguments.
-- Keys are listed at the head of redis_store.py.
-- The rules are those of record.py; one test suite holds the two together.

local P = 'errata:'
local move, given_now, known_schema = ARGV[1], ARGV[2], tonumber(ARGV[3])
local CRASH_LIMIT, RETRY_LIMIT, RETRY_FIRST, RETRY_LAST = 3, 3, 5, 60
local KEEP_DELIVERY = 2 * 86400 -- seconds that a delivery is known
local KEEP = 7 * 86400       -- seconds that what has ended without a result, and a request id, are kept
local MAX_FINISHED = 1000    -- analyses that have ended without a result, as record.py has it
local MOST_SHARDS = 1000000  -- of a job; a record that says more wasn't written here
local WORKER_TIMEOUT = 30    -- seconds without a beat after which a worker counts as gone

local function now()
  if given_now ~= '' then return tonumber(given_now) end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local function text(seconds) return string.format('%.6f', seconds) end
local function final(state) return state == 'SUCCEEDED' or state == 'FAILED' or state == 'CANCELLED' end
local function analysis_key(id) return P .. 'analysis:' .. id end
local function job_key(id) return P .. 'job:' .. id end
local function waiting_key(id) return P .. 'job:' .. id .. ':analyses' end
local function shard_key(id, shard) return P .. 'shard:' .. id .. ':' .. shard end
local function part_key(id, shard) return P .. 'part:' .. id .. ':' .. shard end
local function request_key(id) return P .. 'request:' .. id end
local function get(key, field) return redis.call('HGET', key, field) end
local function number(key, field) return tonumber(redis.call('HGET', key, field) or '0') end

-- Returns the schema of a document that a newer version wrote, which an older one must leave alone; false for others.
-- A damaged document counts as known: its reader reports the damage.
local function newer_schema(key, field)
  local is_json, document = pcall(cjson.decode, get(key, field) or '{}')
  local schema = is_json and type(document) == 'table' and tonumber(document.schema) or 1
  return schema > known_schema and math.min(schema, 1e9)
end

local function newer(what, schema) return redis.error_reply('NEWER ' .. string.format('%d', schema) .. ' ' .. what) end
local function newer_job(id) return newer_schema(job_key(id), 'spec') end

local function live_workers(at) return redis.call('ZCOUNT', P .. 'workers', '(' .. text(at - WORKER_TIMEOUT), '+inf') end
local function shards_of(id) return math.min(number(job_key(id), 'shards'), MOST_SHARDS) end

-- Removes an analysis that has ended, with its request id, and with its job once no other analysis is of it.
local function drop_analysis(id)
  local key = analysis_key(id)
  local request, job = get(key, 'request_id'), get(key, 'job')
  if request and request ~= '' and get(request_key(request), 'analysis') == id then
    redis.call('DEL', request_key(request))
  end
  redis.call('DEL', key)
  redis.call('ZREM', P .. 'analyses', id)
  redis.call('ZREM', P .. 'finished', id)
  if not job or not final(get(job_key(job), 'state')) then return end
  redis.call('SREM', waiting_key(job), id)
  if redis.call('SCARD', waiting_key(job)) > 0 then return end
  for shard = 0, shards_of(job) - 1 do redis.call('DEL', shard_key(job, shard)) end
  redis.call('DEL', job_key(job))
end

-- Drops the analyses that ended first, beyond MAX_FINISHED, but for those whose registry still waits for their end.
local function drop_finished()
  local finished = P .. 'finished'
  local excess = redis.call('ZCARD', finished) - MAX_FINISHED
  if excess <= 0 then return end
  for _, id in ipairs(redis.call('ZRANGE', finished, 0, excess - 1)) do
    local state = get(analysis_key(id), 'state')
    if not state then redis.call('ZREM', P .. 'analyses', id) end -- its time is over
    if not final(state) then redis.call('ZREM', finished, id) -- or a version without this key has queued it again
    elseif not redis.call('ZSCORE', P .. 'owed', id) then drop_analysis(id) end
  end
end

local function end_analysis(id, state, failure)
  local key = analysis_key(id)
  redis.call('ZREM', P .. 'open:analyses', id)
  local request = get(key, 'request_id')
  if request and request ~= '' then redis.call('EXPIRE', request_key(request), KEEP) end
  if state == 'SUCCEEDED' then
    redis.call('DEL', key)
    redis.call('ZREM', P .. 'analyses', id)
    redis.call('ZREM', P .. 'finished', id)
    return
  end
  redis.call('HSET', key, 'state', state, 'failure', failure, 'ended', text(now()))
  redis.call('EXPIRE', key, KEEP)
  redis.call('ZADD', P .. 'finished', text(now()), id)
end

-- A job has ended: its analyses follow, and what only an open job needs is dropped.
local function end_job(id, state, failure)
  local key = job_key(id)
  redis.call('HSET', key, 'state', state, 'failure', failure)
  for _, analysis in ipairs(redis.call('SMEMBERS', waiting_key(id))) do end_analysis(analysis, state, failure) end
  local dedupe = P .. 'dedupe:' .. get(key, 'dedupe')
  if redis.call('GET', dedupe) == id then redis.call('DEL', dedupe) end
  redis.call('ZREM', P .. 'open:jobs', id)
  for shard = 0, shards_of(id) - 1 do
    redis.call('ZREM', P .. 'open:models', id .. ':' .. shard)
    redis.call('DEL', part_key(id, shard))
    if state == 'SUCCEEDED' then redis.call('DEL', shard_key(id, shard))
    else redis.call('EXPIRE', shard_key(id, shard), KEEP) end
  end
  if state == 'SUCCEEDED' then redis.call('DEL', key, waiting_key(id))
  else
    redis.call('EXPIRE', key, KEEP)
    redis.call('EXPIRE', waiting_key(id), KEEP)
  end
  drop_finished()
end

local function holds(id, shard, fence)
  local key = shard_key(id, shard)
  local state = get(job_key(id), 'state')
  return state and not final(state) and get(key, 'state') == 'RUNNING' and get(key, 'fence') == fence
end

local function requested(request_id, digest)
  if request_id == '' then return nil end
  local known = redis.call('HMGET', request_key(request_id), 'digest', 'analysis')
  if not known[1] then return nil end
  return {known[1] == digest and 'repeated' or 'reused', known[2], '', 0}
end

local function delivered(delivery)
  local known = delivery ~= '' and redis.call('GET', P .. 'delivery:' .. delivery)
  return known and {'repeated', known, '', 0} or nil
end

local function remember_delivery(delivery, analysis)
  if delivery ~= '' then redis.call('SET', P .. 'delivery:' .. delivery, analysis, 'EX', KEEP_DELIVERY) end
end

local function remember_request(request_id, digest, analysis, seconds)
  if request_id == '' then return end
  redis.call('HSET', request_key(request_id), 'digest', digest, 'analysis', analysis)
  if seconds then redis.call('EXPIRE', request_key(request_id), seconds) end
end

-- Who asked is to be told: a registry, whose analyses are owed from the step on that makes them.
local function owe(id)
  redis.call('ZADD', P .. 'owed', text(now()), id)
  redis.call('HDEL', P .. 'owed:tries', id)
end

local moves = {}

local function accept(id, entry, request_id, new_job, spec, shards, dedupe, fresh, limit, owed)
  local open = redis.call('ZCARD', P .. 'open:analyses')
  if open >= tonumber(limit) then return {'full', '', '', open} end
  local outcome, job = 'joined', nil
  if fresh == '0' then job = redis.call('GET', P .. 'dedupe:' .. dedupe) or nil end
  local state = job and get(job_key(job), 'state')
  -- An analysis that the judge does not know could not be archived, and a newer version's job could not be read.
  if not state or final(state) or newer_job(job) or number(job_key(job), 'judge_fence') > 0 then
    outcome, job = 'new', new_job
    local created = text(now())
    redis.call('HSET', job_key(job), 'spec', spec, 'dedupe', dedupe, 'created', created, 'state', 'QUEUED',
      'shards', shards, 'left', shards, 'judge_fence', '0', 'started', '', 'failure', '')
    for shard = 0, tonumber(shards) - 1 do
      redis.call('HSET', shard_key(job, shard), 'state', 'QUEUED', 'fence', '0', 'lease', '0', 'worker', '', 'began', '0',
        'crashes', '0', 'retries', '0', 'retry_at', '0', 'done', '0', 'sent', created)
      redis.call('ZADD', P .. 'open:models', created, job .. ':' .. shard)
    end
    redis.call('ZADD', P .. 'open:jobs', created, job)
    if fresh == '0' then redis.call('SET', P .. 'dedupe:' .. dedupe, job) end
  end
  local at = text(now())
  redis.call('SADD', waiting_key(job), id)
  redis.call('HSET', analysis_key(id), 'entry', entry, 'request_id', request_id, 'job', job,
    'state', outcome == 'joined' and get(job_key(job), 'state') or 'QUEUED', 'failure', '', 'ended', '')
  redis.call('ZADD', P .. 'open:analyses', at, id)
  redis.call('ZADD', P .. 'analyses', at, id)
  redis.call('ZREM', P .. 'finished', id)
  if owed == '1' then owe(id) end
  return {outcome, id, job, open + 1}
end

function moves.submit(id, entry, request_id, digest, new_job, spec, shards, dedupe, fresh, limit, owed, delivery)
  local before = delivered(delivery) or requested(request_id, digest)
  if before then return before end
  local said = accept(id, entry, request_id, new_job, spec, shards, dedupe, fresh, limit, owed)
  if said[1] ~= 'full' then
    remember_request(request_id, digest, id, nil)
    remember_delivery(delivery, id)
  end
  return said
end

-- What has failed is queued again under its own name: the one way out of a final state, and only when its user asks.
function moves.resubmit(id, entry, request_id, new_job, spec, shards, dedupe, fresh, limit, owed)
  if get(analysis_key(id), 'state') ~= 'FAILED' then return {} end
  local said = accept(id, entry, request_id, new_job, spec, shards, dedupe, fresh, limit, owed)
  if said[1] ~= 'full' then
    redis.call('PERSIST', analysis_key(id))
    if request_id ~= '' then redis.call('PERSIST', request_key(request_id)) end
  end
  return said
end

function moves.reserve(request_id, digest, id, owed, delivery)
  local before = delivered(delivery) or requested(request_id, digest)
  if before then return before end
  remember_request(request_id, digest, id, KEEP)
  remember_delivery(delivery, id)
  if owed == '1' then owe(id) end
  return {'new', id, '', 0}
end

-- What has ended and is due to be told, taken for a while: whoever ends before it is settled has it come again.
function moves.owed(lease, most)
  local found, at = {}, now()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'owed', '-inf', text(at))) do
    if not redis.call('ZSCORE', P .. 'open:analyses', id) then
      redis.call('ZADD', P .. 'owed', text(at + lease), id)
      found[#found + 1] = {id, redis.call('HGET', P .. 'owed:tries', id) or '0'}
      if #found == tonumber(most) then break end
    end
  end
  return found
end

function moves.postpone(id, delay, failed)
  if failed == '1' and redis.call('ZSCORE', P .. 'owed', id) then redis.call('HINCRBY', P .. 'owed:tries', id, 1) end
  return redis.call('ZADD', P .. 'owed', 'XX', text(now() + delay), id)
end

function moves.settle(id)
  redis.call('HDEL', P .. 'owed:tries', id)
  return redis.call('ZREM', P .. 'owed', id)
end

function moves.release(request_id) return redis.call('DEL', request_key(request_id)) end

function moves.cancel(id, failure)
  local key = analysis_key(id)
  local state = get(key, 'state')
  if not state or final(state) then return 0 end
  local job = get(key, 'job')
  local schema = newer_schema(key, 'entry') or newer_job(job)
  if schema then return newer('the open analysis ' .. id, schema) end
  redis.call('SREM', waiting_key(job), id)
  end_analysis(id, 'CANCELLED', failure)
  if redis.call('SCARD', waiting_key(job)) == 0 then end_job(job, 'CANCELLED', '') else drop_finished() end
  return 1
end

function moves.forget(id)
  local state = get(analysis_key(id), 'state')
  if not state or not final(state) then return 0 end
  redis.call('DEL', analysis_key(id))
  redis.call('ZREM', P .. 'analyses', id)
  redis.call('ZREM', P .. 'finished', id)
  return 1
end

function moves.claim(id, shard, worker, lease)
  local job, key, at = job_key(id), shard_key(id, shard), now()
  local state, own = get(job, 'state'), get(key, 'state')
  if not state or not own or final(state) or final(own) then return {'skip', '0', '0'} end
  local schema = newer_job(id)
  if schema then return newer('the job ' .. id, schema) end
  if own == 'RUNNING' and number(key, 'lease') > at then return {'wait', '0', text(number(key, 'lease') - at)} end
  if own == 'QUEUED' and number(key, 'retry_at') > at then return {'wait', '0', text(number(key, 'retry_at') - at)} end
  if own == 'RUNNING' then redis.call('INCR', P .. 'crashes') end
  local crashes = number(key, 'crashes') + (own == 'RUNNING' and 1 or 0)
  if crashes >= CRASH_LIMIT then
    local message = 'shard ' .. shard .. ' ended its worker ' .. crashes .. ' times; the model may need more memory than a worker has'
    end_job(id, 'FAILED', cjson.encode({reason = 'WORKER_LOST', message = message}))
    return {'lost', '0', '0'}
  end
  local fence = redis.call('HINCRBY', key, 'fence', 1)
  redis.call('HSET', key, 'state', 'RUNNING', 'lease', text(at + lease), 'worker', worker, 'began', text(at),
    'crashes', crashes, 'done', '0')
  if state ~= 'RUNNING' then
    redis.call('HSET', job, 'state', 'RUNNING')
    for _, analysis in ipairs(redis.call('SMEMBERS', waiting_key(id))) do
      redis.call('HSET', analysis_key(analysis), 'state', 'RUNNING')
    end
  end
  if get(job, 'started') == '' then redis.call('HSET', job, 'started', text(at)) end
  local sent = number(key, 'sent')
  if sent > tonumber(redis.call('GET', P .. 'started:models') or '0') then
    redis.call('SET', P .. 'started:models', text(sent))
  end
  return {'taken', tostring(fence), '0'}
end

-- A write that came too late is counted, unless the job has failed or was cancelled under its workers' hands.
local function count_late(id)
  local state = get(job_key(id), 'state')
  if state ~= 'FAILED' and state ~= 'CANCELLED' then redis.call('INCR', P .. 'refused') end
end

-- A worker reports: its hold is renewed, or how many images are done is written.
function moves.report(id, shard, fence, field, value)
  if get(job_key(id), 'state') == 'CANCELLED' then return 'cancel' end
  if not holds(id, shard, fence) then
    count_late(id)
    return 'lost'
  end
  local key, at = shard_key(id, shard), now()
  redis.call('ZADD', P .. 'workers', text(at), get(key, 'worker'))
  if field == 'lease' then value = text(at + value) end
  redis.call('HSET', key, field, value)
  return 'ok'
end

function moves.finish_shard(id, shard, fence, size, part)
  local key = shard_key(id, shard)
  if not holds(id, shard, fence) then
    count_late(id)
    return -1
  end
  redis.call('SET', part_key(id, shard), part)
  redis.call('HSET', key, 'state', 'SUCCEEDED', 'done', size)
  redis.call('ZREM', P .. 'open:models', id .. ':' .. shard)
  local left = redis.call('HINCRBY', job_key(id), 'left', -1)
  if left == 0 then redis.call('HSET', job_key(id), 'sent', text(now())) end
  return left
end

function moves.hand_back(id, shard, fence)
  if not holds(id, shard, fence) then return 0 end
  redis.call('HSET', shard_key(id, shard), 'state', 'QUEUED', 'done', '0', 'sent', text(now()))
  return 1
end

function moves.retry(id, shard, fence, failure)
  if not holds(id, shard, fence) then return '' end
  local key, at = shard_key(id, shard), now()
  local retries = number(key, 'retries')
  if retries >= RETRY_LIMIT then
    end_job(id, 'FAILED', failure)
    return ''
  end
  local delay = math.min(RETRY_FIRST * 2 ^ retries, RETRY_LAST)
  redis.call('HSET', key, 'state', 'QUEUED', 'retries', retries + 1, 'retry_at', text(at + delay), 'done', '0',
    'sent', text(at + delay))
  return text(delay)
end

function moves.fail(id, shard, fence, failure)
  if not holds(id, shard, fence) then return 0 end
  end_job(id, 'FAILED', failure)
  return 1
end

function moves.claim_judging(id)
  local state = get(job_key(id), 'state')
  if not state or final(state) or number(job_key(id), 'left') > 0 then return 0 end
  local schema = newer_job(id)
  if schema then return newer('the job ' .. id, schema) end
  redis.call('HSET', job_key(id), 'sent', text(now()))
  return redis.call('HINCRBY', job_key(id), 'judge_fence', 1)
end

function moves.finish(id, fence, failure)
  local state = get(job_key(id), 'state')
  if not state or final(state) or get(job_key(id), 'judge_fence') ~= fence then return 0 end
  end_job(id, failure == '' and 'SUCCEEDED' or 'FAILED', failure)
  return 1
end

function moves.job(id)
  local shards = {}
  local record = redis.call('HGETALL', job_key(id))
  if #record == 0 then return {} end
  for shard = 0, shards_of(id) - 1 do
    shards[shard + 1] = redis.call('HGETALL', shard_key(id, shard))
  end
  return {record, redis.call('SMEMBERS', waiting_key(id)), shards}
end

function moves.snapshot(id)
  local record = redis.call('HGETALL', analysis_key(id))
  if #record == 0 then
    redis.call('ZREM', P .. 'analyses', id) -- its time is over
    return {}
  end
  local job, at = get(analysis_key(id), 'job'), now()
  local created = get(job_key(job), 'created')
  local ahead = 0
  if created then ahead = redis.call('ZCOUNT', P .. 'open:jobs', '-inf', '(' .. created) end
  return {record, moves.job(job), ahead, live_workers(at), text(at)}
end

-- What a list needs: all ids, the ids of `finished` with their times, live workers, and the time.
-- A week after its end an analysis is gone; what is open is not finished, though an older version leaves it there.
function moves.listed()
  local at = now()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'finished', '-inf', text(at - KEEP))) do
    redis.call('ZREM', P .. 'finished', id)
    if redis.call('EXISTS', analysis_key(id)) == 0 then redis.call('ZREM', P .. 'analyses', id) end
  end
  for _, id in ipairs(redis.call('ZRANGE', P .. 'open:analyses', 0, -1)) do redis.call('ZREM', P .. 'finished', id) end
  return {redis.call('ZRANGE', P .. 'analyses', 0, -1), redis.call('ZRANGE', P .. 'finished', 0, -1, 'WITHSCORES'),
    live_workers(at), text(at)}
end

function moves.snapshots(...)
  local found = {}
  for place, id in ipairs({...}) do found[place] = moves.snapshot(id) end
  return found
end

-- Shards and judgings whose message seems to be lost: returned, and marked as sent now.
function moves.overdue(heartbeat)
  local at, found = now(), {}
  local queue_empty = redis.call('LLEN', P .. 'mq:models') == 0
  local judge_empty = redis.call('LLEN', P .. 'mq:errands') == 0
  local started = tonumber(redis.call('GET', P .. 'started:models') or '0')
  for _, member in ipairs(redis.call('ZRANGE', P .. 'open:models', 0, -1)) do
    local key = P .. 'shard:' .. member
    local state, sent = get(key, 'state'), number(key, 'sent')
    local lost = false
    if state == 'QUEUED' and number(key, 'retry_at') <= at then
      lost = (queue_empty and at - sent > 10) or started - sent > 60
    elseif state == 'RUNNING' then
      lost = at - number(key, 'lease') > tonumber(heartbeat) + 10 and at - sent > tonumber(heartbeat) + 10
    end
    if lost then
      redis.call('HSET', key, 'sent', text(at))
      found[#found + 1] = member
    end
  end
  for _, job in ipairs(redis.call('ZRANGE', P .. 'open:jobs', 0, -1)) do
    local fence = number(job_key(job), 'judge_fence') -- whoever judges may take its time, and comes back by itself
    local patience = fence == 0 and 10 or math.min(5 * fence, 60) + 20
    if number(job_key(job), 'left') == 0 and judge_empty and at - number(job_key(job), 'sent') > patience then
      redis.call('HSET', job_key(job), 'sent', text(at))
      found[#found + 1] = job
    end
  end
  return found
end

function moves.bind_archive(archive_id)
  redis.call('SETNX', P .. 'archive', archive_id)
  return redis.call('GET', P .. 'archive')
end

function moves.alive(worker, offers)
  redis.call('ZADD', P .. 'workers', text(now()), worker)
  redis.call('ZREMRANGEBYSCORE', P .. 'workers', '-inf', text(now() - 86400))
  if offers ~= '' then
    redis.call('SET', P .. 'offers:' .. worker, offers, 'EX', WORKER_TIMEOUT)
    redis.call('SET', P .. 'offers', offers) -- what the last one could do, for when there is none
  end
  return 1
end

function moves.gone(worker)
  redis.call('DEL', P .. 'offers:' .. worker)
  return redis.call('ZREM', P .. 'workers', worker)
end

function moves.offers()
  local found = {}
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '(' .. text(now() - WORKER_TIMEOUT), '+inf')) do
    found[#found + 1] = redis.call('GET', P .. 'offers:' .. worker) or nil
  end
  if #found == 0 then found[1] = redis.call('GET', P .. 'offers') or nil end
  return found
end

-- Queued and running members of a zset by time, and the age of the oldest of each.
local function by_state(open, key_of, at)
  local count, oldest = {QUEUED = 0, RUNNING = 0}, {QUEUED = 0, RUNNING = 0}
  local members = redis.call('ZRANGE', P .. open, 0, -1, 'WITHSCORES') -- the oldest first
  for at_member = 1, #members, 2 do
    local state = get(key_of(members[at_member]), 'state')
    if count[state] then
      if count[state] == 0 then oldest[state] = at - tonumber(members[at_member + 1]) end
      count[state] = count[state] + 1
    end
  end
  return count, oldest
end

function moves.depth()
  local at = now()
  local analyses, oldest = by_state('open:analyses', analysis_key, at)
  local shards = by_state('open:models', function(member) return P .. 'shard:' .. member end, at)
  local delayed, dead = 0, 0
  for _, queue in ipairs({'models', 'errands'}) do -- the engine's keys, which we only look at
    delayed = delayed + redis.call('HLEN', P .. 'mq:' .. queue .. '.DQ.msgs')
    dead = dead + redis.call('ZCARD', P .. 'mq:' .. queue .. '.XQ')
  end
  return {analyses.QUEUED, analyses.RUNNING, shards.QUEUED, shards.RUNNING, text(oldest.QUEUED), text(oldest.RUNNING),
    live_workers(at), tonumber(redis.call('GET', P .. 'refused') or '0'), tonumber(redis.call('GET', P .. 'crashes') or '0'), delayed, dead}
end

return moves[move](unpack(ARGV, 4))
