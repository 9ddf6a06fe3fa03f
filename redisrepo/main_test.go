package redisrepo

import (
	"context"
	"flag"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"hearth/domain/testserver"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // they wait more than they work; the command line has the last word
	redis.SetLogger(quiet{}) // what it says of servers that tests have killed
	goleak.VerifyTestMain(testserver.Main{M: m})
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
