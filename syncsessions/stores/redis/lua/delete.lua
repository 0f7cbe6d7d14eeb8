local record, log, deadlines, born = unpack(KEYS)
local id, life = unpack(ARGV)
local ends = deadline(deadlines, id)
local old = ends and ends > clock() and redis.call('HGET', record, 'life')
if not old or (life ~= '' and life ~= '=' .. old) then
    return 0
end
redis.call('ZREM', deadlines, id)
redis.call('ZREM', born, id)
redis.call('UNLINK', record, log)
return 1
