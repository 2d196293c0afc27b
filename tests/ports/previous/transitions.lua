-- The state transitions of jobs and analyses. One call of this script is one atomic step; nothing else writes `state`.
-- ARGV: transition, now ('' = the server's clock), the schema that the caller knows, then the transition's arguments.
-- redis_store.py lists the keys. The rules are those of transitions.py; one test suite runs on both.

local P = 'errata:'
local transition, caller_now, known_schema = ARGV[1], ARGV[2], tonumber(ARGV[3])
local MAX_CRASHES, MAX_RETRIES, FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 3, 3, 5, 60
local DELIVERY_TTL = 2 * 86400 -- seconds
local FINISHED_TTL = 7 * 86400 -- TTL of failed and cancelled analyses and of request ids, in seconds
local MAX_FINISHED = 1000      -- failed and cancelled analyses, as in transitions.py
local MAX_SHARDS = 1000000     -- shards of a job; a record with more shards is damaged
local WORKER_TIMEOUT = 30      -- seconds without a heartbeat after which a worker is considered stopped

local function now()
  if caller_now ~= '' then return tonumber(caller_now) end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local function text(seconds) return string.format('%.6f', seconds) end
local function is_final(state) return state == 'SUCCEEDED' or state == 'FAILED' or state == 'CANCELLED' end
local function analysis_key(id) return P .. 'analysis:' .. id end
local function job_key(id) return P .. 'job:' .. id end
local function waiting_key(id) return P .. 'job:' .. id .. ':analyses' end
local function shard_key(id, shard) return P .. 'shard:' .. id .. ':' .. shard end
local function part_key(id, shard) return P .. 'part:' .. id .. ':' .. shard end
local function request_key(id) return P .. 'request:' .. id end
local function get(key, field) return redis.call('HGET', key, field) end
local function number(key, field) return tonumber(redis.call('HGET', key, field) or '0') end

-- Returns the schema of a document if a newer version wrote it, false otherwise. An older version must not change it.
-- A damaged document counts as known, because its reader reports the damage.
local function newer_schema(key, field)
  local is_json, document = pcall(cjson.decode, get(key, field) or '{}')
  local schema = is_json and type(document) == 'table' and tonumber(document.schema) or 1
  return schema > known_schema and math.min(schema, 1e9)
end

local function newer_error(what, schema)
  return redis.error_reply('NEWER ' .. string.format('%d', schema) .. ' ' .. what)
end
local function newer_job(id) return newer_schema(job_key(id), 'spec') end

local function live_workers(at) return redis.call('ZCOUNT', P .. 'workers', '(' .. text(at - WORKER_TIMEOUT), '+inf') end
local function shards_of(id) return math.min(number(job_key(id), 'shards'), MAX_SHARDS) end

-- Deletes an ended analysis with its request id, and its job if no other analysis refers to it.
local function delete_analysis(id)
  local key = analysis_key(id)
  local request, job = get(key, 'request_id'), get(key, 'job')
  if request and request ~= '' and get(request_key(request), 'analysis') == id then
    redis.call('DEL', request_key(request))
  end
  redis.call('DEL', key)
  redis.call('ZREM', P .. 'analyses', id)
  redis.call('ZREM', P .. 'finished', id)
  if not job or not is_final(get(job_key(job), 'state')) then return end
  redis.call('SREM', waiting_key(job), id)
  if redis.call('SCARD', waiting_key(job)) > 0 then return end
  for shard = 0, shards_of(job) - 1 do redis.call('DEL', shard_key(job, shard)) end
  redis.call('DEL', job_key(job))
end

-- Deletes the oldest ended analyses beyond MAX_FINISHED, except those with a pending write-back.
local function delete_excess()
  local finished = P .. 'finished'
  local excess = redis.call('ZCARD', finished) - MAX_FINISHED
  if excess <= 0 then return end
  for _, id in ipairs(redis.call('ZRANGE', finished, 0, excess - 1)) do
    local state = get(analysis_key(id), 'state')
    if not state then redis.call('ZREM', P .. 'analyses', id) end -- the record has expired
    -- Not final: expired, or queued again by a version without the key `finished`.
    if not is_final(state) then redis.call('ZREM', finished, id)
    elseif not redis.call('ZSCORE', P .. 'owed', id) then delete_analysis(id) end
  end
end

local function end_analysis(id, state, failure)
  local key = analysis_key(id)
  redis.call('ZREM', P .. 'open:analyses', id)
  local request = get(key, 'request_id')
  if request and request ~= '' then redis.call('EXPIRE', request_key(request), FINISHED_TTL) end
  if state == 'SUCCEEDED' then
    redis.call('DEL', key)
    redis.call('ZREM', P .. 'analyses', id)
    redis.call('ZREM', P .. 'finished', id)
    return
  end
  redis.call('HSET', key, 'state', state, 'failure', failure, 'ended', text(now()))
  redis.call('EXPIRE', key, FINISHED_TTL)
  redis.call('ZADD', P .. 'finished', text(now()), id)
end

-- Ends a job and its analyses, and deletes the keys that only an open job needs.
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
    else redis.call('EXPIRE', shard_key(id, shard), FINISHED_TTL) end
  end
  if state == 'SUCCEEDED' then redis.call('DEL', key, waiting_key(id))
  else
    redis.call('EXPIRE', key, FINISHED_TTL)
    redis.call('EXPIRE', waiting_key(id), FINISHED_TTL)
  end
  delete_excess()
end

local function holds_lease(id, shard, fence)
  local key = shard_key(id, shard)
  local state = get(job_key(id), 'state')
  return state and not is_final(state) and get(key, 'state') == 'RUNNING' and get(key, 'fence') == fence
end

local function find_request(request_id, digest)
  if request_id == '' then return nil end
  local known = redis.call('HMGET', request_key(request_id), 'digest', 'analysis')
  if not known[1] then return nil end
  return {known[1] == digest and 'repeated' or 'reused', known[2], '', 0}
end

local function find_delivery(delivery)
  local known = delivery ~= '' and redis.call('GET', P .. 'delivery:' .. delivery)
  return known and {'repeated', known, '', 0} or nil
end

local function store_delivery(delivery, analysis)
  if delivery ~= '' then redis.call('SET', P .. 'delivery:' .. delivery, analysis, 'EX', DELIVERY_TTL) end
end

local function store_request(request_id, digest, analysis, seconds)
  if request_id == '' then return end
  redis.call('HSET', request_key(request_id), 'digest', digest, 'analysis', analysis)
  if seconds then redis.call('EXPIRE', request_key(request_id), seconds) end
end

-- Adds an analysis to the outbox, because its result must be written back to a registry.
local function add_to_outbox(id)
  redis.call('ZADD', P .. 'owed', text(now()), id)
  redis.call('HDEL', P .. 'owed:tries', id)
end

local transitions = {}

local function accept(id, entry, request_id, new_job, spec, shards, dedupe, fresh, limit, needs_write_back)
  local open = redis.call('ZCARD', P .. 'open:analyses')
  if open >= tonumber(limit) then return {'full', '', '', open} end
  local outcome, job = 'joined', nil
  if fresh == '0' then job = redis.call('GET', P .. 'dedupe:' .. dedupe) or nil end
  local state = job and get(job_key(job), 'state')
  -- An analysis that joins after judging began would not be archived, and a newer version's job cannot be read.
  if not state or is_final(state) or newer_job(job) or number(job_key(job), 'judge_fence') > 0 then
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
  if needs_write_back == '1' then add_to_outbox(id) end
  return {outcome, id, job, open + 1}
end

function transitions.submit(
  id, entry, request_id, digest, new_job, spec, shards, dedupe, fresh, limit, needs_write_back, delivery
)
  local before = find_delivery(delivery) or find_request(request_id, digest)
  if before then return before end
  local reply = accept(id, entry, request_id, new_job, spec, shards, dedupe, fresh, limit, needs_write_back)
  if reply[1] ~= 'full' then
    store_request(request_id, digest, id, nil)
    store_delivery(delivery, id)
  end
  return reply
end

-- Queues a failed analysis again under the same id, at its user's request: the only transition from a final state.
function transitions.resubmit(id, entry, request_id, new_job, spec, shards, dedupe, fresh, limit, needs_write_back)
  if get(analysis_key(id), 'state') ~= 'FAILED' then return {} end
  local reply = accept(id, entry, request_id, new_job, spec, shards, dedupe, fresh, limit, needs_write_back)
  if reply[1] ~= 'full' then
    redis.call('PERSIST', analysis_key(id))
    if request_id ~= '' then redis.call('PERSIST', request_key(request_id)) end
  end
  return reply
end

function transitions.reserve(request_id, digest, id, needs_write_back, delivery)
  local before = find_delivery(delivery) or find_request(request_id, digest)
  if before then return before end
  store_request(request_id, digest, id, FINISHED_TTL)
  store_delivery(delivery, id)
  if needs_write_back == '1' then add_to_outbox(id) end
  return {'new', id, '', 0}
end

-- Leases due outbox items whose analyses have ended: an item that is not deleted is due again when its lease ends.
function transitions.due_outbox_items(lease, limit)
  local items, at = {}, now()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'owed', '-inf', text(at))) do
    if not redis.call('ZSCORE', P .. 'open:analyses', id) then
      redis.call('ZADD', P .. 'owed', text(at + lease), id)
      items[#items + 1] = {id, redis.call('HGET', P .. 'owed:tries', id) or '0'}
      if #items == tonumber(limit) then break end
    end
  end
  return items
end

function transitions.postpone_outbox_item(id, delay, failed)
  if failed == '1' and redis.call('ZSCORE', P .. 'owed', id) then redis.call('HINCRBY', P .. 'owed:tries', id, 1) end
  return redis.call('ZADD', P .. 'owed', 'XX', text(now() + delay), id)
end

function transitions.delete_outbox_item(id)
  redis.call('HDEL', P .. 'owed:tries', id)
  return redis.call('ZREM', P .. 'owed', id)
end

function transitions.release_request_id(request_id) return redis.call('DEL', request_key(request_id)) end

function transitions.cancel(id, failure)
  local key = analysis_key(id)
  local state = get(key, 'state')
  if not state or is_final(state) then return 0 end
  local job = get(key, 'job')
  local schema = newer_schema(key, 'entry') or newer_job(job)
  if schema then return newer_error('the open analysis ' .. id, schema) end
  redis.call('SREM', waiting_key(job), id)
  end_analysis(id, 'CANCELLED', failure)
  if redis.call('SCARD', waiting_key(job)) == 0 then end_job(job, 'CANCELLED', '') else delete_excess() end
  return 1
end

function transitions.delete(id)
  local state = get(analysis_key(id), 'state')
  if not state or not is_final(state) then return 0 end
  redis.call('DEL', analysis_key(id))
  redis.call('ZREM', P .. 'analyses', id)
  redis.call('ZREM', P .. 'finished', id)
  return 1
end

function transitions.claim_shard(id, shard, worker, lease)
  local job, key, at = job_key(id), shard_key(id, shard), now()
  local state, shard_state = get(job, 'state'), get(key, 'state')
  if not state or not shard_state or is_final(state) or is_final(shard_state) then return {'skip', '0', '0'} end
  local schema = newer_job(id)
  if schema then return newer_error('the job ' .. id, schema) end
  if shard_state == 'RUNNING' and number(key, 'lease') > at then return {'wait', '0', text(number(key, 'lease') - at)} end
  if shard_state == 'QUEUED' and number(key, 'retry_at') > at then return {'wait', '0', text(number(key, 'retry_at') - at)} end
  if shard_state == 'RUNNING' then redis.call('INCR', P .. 'crashes') end
  local crashes = number(key, 'crashes') + (shard_state == 'RUNNING' and 1 or 0)
  if crashes >= MAX_CRASHES then
    local message = 'Shard ' .. shard .. ' crashed its worker ' .. crashes
      .. ' times. The model may need more memory than a worker has.'
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
  return {'claimed', tostring(fence), '0'}
end

-- Counts a refused write of a worker, unless its job has failed or was cancelled.
local function count_refused(id)
  local state = get(job_key(id), 'state')
  if state ~= 'FAILED' and state ~= 'CANCELLED' then redis.call('INCR', P .. 'refused') end
end

-- Renews the lease of a worker, or stores its progress.
function transitions.report(id, shard, fence, field, value)
  if get(job_key(id), 'state') == 'CANCELLED' then return 'cancel' end
  if not holds_lease(id, shard, fence) then
    count_refused(id)
    return 'lost'
  end
  local key, at = shard_key(id, shard), now()
  redis.call('ZADD', P .. 'workers', text(at), get(key, 'worker'))
  if field == 'lease' then value = text(at + value) end
  redis.call('HSET', key, field, value)
  return 'ok'
end

function transitions.finish_shard(id, shard, fence, size, result)
  local key = shard_key(id, shard)
  if not holds_lease(id, shard, fence) then
    count_refused(id)
    return -1
  end
  redis.call('SET', part_key(id, shard), result)
  redis.call('HSET', key, 'state', 'SUCCEEDED', 'done', size)
  redis.call('ZREM', P .. 'open:models', id .. ':' .. shard)
  local left = redis.call('HINCRBY', job_key(id), 'left', -1)
  if left == 0 then redis.call('HSET', job_key(id), 'sent', text(now())) end
  return left
end

function transitions.release_shard(id, shard, fence)
  if not holds_lease(id, shard, fence) then return 0 end
  redis.call('HSET', shard_key(id, shard), 'state', 'QUEUED', 'done', '0', 'sent', text(now()))
  return 1
end

function transitions.retry_shard(id, shard, fence, failure)
  if not holds_lease(id, shard, fence) then return '' end
  local key, at = shard_key(id, shard), now()
  local retries = number(key, 'retries')
  if retries >= MAX_RETRIES then
    end_job(id, 'FAILED', failure)
    return ''
  end
  local delay = math.min(FIRST_RETRY_SECONDS * 2 ^ retries, LAST_RETRY_SECONDS)
  redis.call('HSET', key, 'state', 'QUEUED', 'retries', retries + 1, 'retry_at', text(at + delay), 'done', '0',
    'sent', text(at + delay))
  return text(delay)
end

function transitions.fail_job(id, shard, fence, failure)
  if not holds_lease(id, shard, fence) then return 0 end
  end_job(id, 'FAILED', failure)
  return 1
end

function transitions.claim_judging(id)
  local state = get(job_key(id), 'state')
  if not state or is_final(state) or number(job_key(id), 'left') > 0 then return 0 end
  local schema = newer_job(id)
  if schema then return newer_error('the job ' .. id, schema) end
  redis.call('HSET', job_key(id), 'sent', text(now()))
  return redis.call('HINCRBY', job_key(id), 'judge_fence', 1)
end

function transitions.finish_job(id, fence, failure)
  local state = get(job_key(id), 'state')
  if not state or is_final(state) or get(job_key(id), 'judge_fence') ~= fence then return 0 end
  end_job(id, failure == '' and 'SUCCEEDED' or 'FAILED', failure)
  return 1
end

function transitions.job(id)
  local shards = {}
  local record = redis.call('HGETALL', job_key(id))
  if #record == 0 then return {} end
  for shard = 0, shards_of(id) - 1 do
    shards[shard + 1] = redis.call('HGETALL', shard_key(id, shard))
  end
  return {record, redis.call('SMEMBERS', waiting_key(id)), shards}
end

function transitions.snapshot(id)
  local record = redis.call('HGETALL', analysis_key(id))
  if #record == 0 then
    redis.call('ZREM', P .. 'analyses', id) -- the record has expired
    return {}
  end
  local job, at = get(analysis_key(id), 'job'), now()
  local created = get(job_key(job), 'created')
  local ahead = 0
  if created then ahead = redis.call('ZCOUNT', P .. 'open:jobs', '-inf', '(' .. created) end
  return {record, transitions.job(job), ahead, live_workers(at), text(at)}
end

-- Returns all ids, the ids of `finished` with their times, the number of live workers, and the time.
-- Removes expired analyses, and open ones that an older version has left in `finished`.
function transitions.list()
  local at = now()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'finished', '-inf', text(at - FINISHED_TTL))) do
    redis.call('ZREM', P .. 'finished', id)
    if redis.call('EXISTS', analysis_key(id)) == 0 then redis.call('ZREM', P .. 'analyses', id) end
  end
  for _, id in ipairs(redis.call('ZRANGE', P .. 'open:analyses', 0, -1)) do redis.call('ZREM', P .. 'finished', id) end
  return {redis.call('ZRANGE', P .. 'analyses', 0, -1), redis.call('ZRANGE', P .. 'finished', 0, -1, 'WITHSCORES'),
    live_workers(at), text(at)}
end

function transitions.snapshots(...)
  local snapshots = {}
  for index, id in ipairs({...}) do snapshots[index] = transitions.snapshot(id) end
  return snapshots
end

-- Returns the shards and the jobs to judge whose message seems to be lost, and marks them as sent now.
function transitions.lost_messages(heartbeat_timeout)
  local at, lost_messages = now(), {}
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
      lost = at - number(key, 'lease') > tonumber(heartbeat_timeout) + 10 and at - sent > tonumber(heartbeat_timeout) + 10
    end
    if lost then
      redis.call('HSET', key, 'sent', text(at))
      lost_messages[#lost_messages + 1] = member
    end
  end
  for _, job in ipairs(redis.call('ZRANGE', P .. 'open:jobs', 0, -1)) do
    -- A judge that waits for the archive sends its own message again, after a delay that grows with each attempt.
    local attempts = number(job_key(job), 'judge_fence')
    local timeout = attempts == 0 and 10 or math.min(5 * attempts, 60) + 20
    if number(job_key(job), 'left') == 0 and judge_empty and at - number(job_key(job), 'sent') > timeout then
      redis.call('HSET', job_key(job), 'sent', text(at))
      lost_messages[#lost_messages + 1] = job
    end
  end
  return lost_messages
end

function transitions.bind_archive(archive_id)
  redis.call('SETNX', P .. 'archive', archive_id)
  return redis.call('GET', P .. 'archive')
end

function transitions.heartbeat(worker, offer)
  redis.call('ZADD', P .. 'workers', text(now()), worker)
  redis.call('ZREMRANGEBYSCORE', P .. 'workers', '-inf', text(now() - 86400))
  if offer ~= '' then
    redis.call('SET', P .. 'offers:' .. worker, offer, 'EX', WORKER_TIMEOUT)
    redis.call('SET', P .. 'offers', offer) -- the latest offer, which is used while no worker is alive
  end
  return 1
end

function transitions.remove_worker(worker)
  redis.call('DEL', P .. 'offers:' .. worker)
  return redis.call('ZREM', P .. 'workers', worker)
end

function transitions.offers()
  local offers = {}
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '(' .. text(now() - WORKER_TIMEOUT), '+inf')) do
    offers[#offers + 1] = redis.call('GET', P .. 'offers:' .. worker) or nil
  end
  if #offers == 0 then offers[1] = redis.call('GET', P .. 'offers') or nil end
  return offers
end

-- Returns the number of queued and of running members of a sorted set, and the age of the oldest of each.
local function count_by_state(open, key_of, at)
  local count, oldest = {QUEUED = 0, RUNNING = 0}, {QUEUED = 0, RUNNING = 0}
  local members = redis.call('ZRANGE', P .. open, 0, -1, 'WITHSCORES') -- oldest first
  for at_member = 1, #members, 2 do
    local state = get(key_of(members[at_member]), 'state')
    if count[state] then
      if count[state] == 0 then oldest[state] = at - tonumber(members[at_member + 1]) end
      count[state] = count[state] + 1
    end
  end
  return count, oldest
end

function transitions.depth()
  local at = now()
  local analyses, oldest = count_by_state('open:analyses', analysis_key, at)
  local shards = count_by_state('open:models', function(member) return P .. 'shard:' .. member end, at)
  local delayed, dead = 0, 0
  for _, queue in ipairs({'models', 'errands'}) do -- keys of the engine, read only
    delayed = delayed + redis.call('HLEN', P .. 'mq:' .. queue .. '.DQ.msgs')
    dead = dead + redis.call('ZCARD', P .. 'mq:' .. queue .. '.XQ')
  end
  return {analyses.QUEUED, analyses.RUNNING, shards.QUEUED, shards.RUNNING, text(oldest.QUEUED), text(oldest.RUNNING),
    live_workers(at), tonumber(redis.call('GET', P .. 'refused') or '0'),
    tonumber(redis.call('GET', P .. 'crashes') or '0'), delayed, dead}
end

return transitions[transition](unpack(ARGV, 4))
