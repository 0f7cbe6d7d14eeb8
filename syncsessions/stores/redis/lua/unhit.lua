return ARGV[1] ~= '' and redis.call('ZREM', KEYS[1], ARGV[1]) -- the member without a name is no hit
