package redisrepo

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

//go:embed append.lua
var appendSource string

//go:embed generation.lua
var generationSource string

//go:embed forget.lua
var forgetSource string

//go:embed seed.lua
var seedSource string

//go:embed fill.lua
var fillSource string

//go:embed change.lua
var changeSource string

//go:embed read.lua
var readSource string

//go:embed marked.lua
var markedSource string

//go:embed commit.lua
var commitSource string

//go:embed expire.lua
var expireSource string

var (
	appendScript     = redis.NewScript(appendSource)
	generationScript = redis.NewScript(generationSource)
	forgetScript     = redis.NewScript(forgetSource)
	seedScript       = redis.NewScript(seedSource)
	fillScript       = redis.NewScript(fillSource)
	changeScript     = redis.NewScript(changeSource)
	readScript       = redis.NewScript(readSource)
	markedScript     = redis.NewScript(markedSource)
	commitScript     = redis.NewScript(commitSource)
	expireScript     = redis.NewScript(expireSource)
)
