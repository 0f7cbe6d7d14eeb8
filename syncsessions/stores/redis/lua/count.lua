return redis.call('ZCOUNT', KEYS[1], '(' .. whole(clock()), '+inf')
