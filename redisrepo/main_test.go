package redisrepo

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"hearth/domain/testserver"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{}) // what it says of servers that tests have killed
	goleak.VerifyTestMain(testserver.Main{M: m})
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
