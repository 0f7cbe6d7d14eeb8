-- Times are microseconds since 1970: doubles hold them, but `..` would write them as 1.7e+15.
local function whole(number)
    return string.format('%.0f', number)
end

local function clock()
    local time = redis.call('TIME')
    return time[1] * 1000000 + time[2]
end

-- When the record ends or ended; false where there is none.
local function deadline(deadlines, id)
    local score = redis.call('ZSCORE', deadlines, id)
    return score and tonumber(score)
end

-- Counts the token in a sliding window; where that is full, gives the time until there is room.
-- The longest time that was asked for is kept as the score, negated, of a member without a name.
local function spend(window, token, most, length, now)
    if redis.call('ZSCORE', window, token) then
        return nil
    end
    local since = '(' .. whole(now - length)
    local count = redis.call('ZCOUNT', window, since, '+inf')
    if count >= most then
        local first = redis.call(
            'ZRANGEBYSCORE', window, since, '+inf', 'WITHSCORES', 'LIMIT', whole(count - most), 1
        )
        return first[2] + length - now
    end
    local longest = math.max(length, -(redis.call('ZSCORE', window, '') or 0))
    redis.call('ZADD', window, whole(now), token, whole(-longest), '')
    redis.call('ZREMRANGEBYSCORE', window, 0, whole(now - longest))
    redis.call('PEXPIRE', window, whole(math.ceil(longest / 1000)))
    return nil
end
