package redisrepo

import (
	"testing"

	"go.uber.org/goleak"

	"hearth/domain/testserver"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(testserver.Main{M: m})
}
