package redisrepo

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// standing.lua begins the scripts that ask who may speak.
//
//go:embed standing.lua
var standingSource string

//go:embed append.lua
var appendSource string

//go:embed signal.lua
var signalSource string

//go:embed recall.lua
var recallSource string

//go:embed generation.lua
var generationSource string

//go:embed forget.lua
var forgetSource string

//go:embed seed.lua
var seedSource string

//go:embed reached.lua
var reachedSource string

//go:embed holes.lua
var holesSource string

//go:embed expiring.lua
var expiringSource string

//go:embed fill.lua
var fillSource string

//go:embed change.lua
var changeSource string

//go:embed read.lua
var readSource string

//go:embed marked.lua
var markedSource string

//go:embed dismissed.lua
var dismissedSource string

//go:embed commit.lua
var commitSource string

//go:embed mentioned.lua
var mentionedSource string

//go:embed expire.lua
var expireSource string

//go:embed heat.lua
var heatSource string

//go:embed spoke.lua
var spokeSource string

//go:embed ranked.lua
var rankedSource string

//go:embed turn.lua
var turnSource string

//go:embed publish.lua
var publishSource string

//go:embed page.lua
var pageSource string

//go:embed mine.lua
var mineSource string

//go:embed enter.lua
var enterSource string

//go:embed leave.lua
var leaveSource string

//go:embed sweep.lua
var sweepSource string

//go:embed note.lua
var noteSource string

var (
	appendScript     = redis.NewScript(standingSource + appendSource)
	signalScript     = redis.NewScript(standingSource + signalSource)
	recallScript     = redis.NewScript(standingSource + recallSource)
	generationScript = redis.NewScript(generationSource)
	forgetScript     = redis.NewScript(forgetSource)
	seedScript       = redis.NewScript(seedSource)
	reachedScript    = redis.NewScript(standingSource + reachedSource)
	holesScript      = redis.NewScript(holesSource)
	expiringScript   = redis.NewScript(expiringSource)
	fillScript       = redis.NewScript(fillSource)
	changeScript     = redis.NewScript(changeSource)
	readScript       = redis.NewScript(readSource)
	markedScript     = redis.NewScript(markedSource)
	dismissedScript  = redis.NewScript(dismissedSource)
	commitScript     = redis.NewScript(commitSource)
	mentionedScript  = redis.NewScript(mentionedSource)
	expireScript     = redis.NewScript(expireSource)
	heatScript       = redis.NewScript(heatSource)
	spokeScript      = redis.NewScript(spokeSource)
	rankedScript     = redis.NewScript(rankedSource)
	turnScript       = redis.NewScript(turnSource)
	publishScript    = redis.NewScript(publishSource)
	pageScript       = redis.NewScript(pageSource)
	mineScript       = redis.NewScript(mineSource)
	enterScript      = redis.NewScript(enterSource)
	leaveScript      = redis.NewScript(leaveSource)
	sweepScript      = redis.NewScript(sweepSource)
	noteScript       = redis.NewScript(noteSource)
)
