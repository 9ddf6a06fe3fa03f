package redisrepo

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// scriptCall is one of many calls of a script.
type scriptCall struct {
	keys []string
	args []any
}

// runEach makes the calls in pipelines; servers that do not know the script are given it. The commands are in the
// order of the calls, and as many as were made; the error is the first among them.
func (s *Store) runEach(ctx context.Context, script *redis.Script, calls []scriptCall) (cmds []*redis.Cmd, err error) {
	for chunk := range slices.Chunk(calls, pipelineCalls) {
		made, err := s.runPipeline(ctx, script, chunk)
		cmds = append(cmds, made...)
		if err != nil {
			return cmds, err
		}
	}
	return cmds, nil
}

// runPipeline repeats what failed for want of the script and nothing else: of a cluster's servers some may know it.
func (s *Store) runPipeline(ctx context.Context, script *redis.Script, calls []scriptCall) ([]*redis.Cmd, error) {
	cmds, err := s.evalEach(ctx, script, calls)
	var refused []scriptCall
	for i, c := range cmds {
		if isNoScript(c.Err()) {
			refused = append(refused, calls[i])
		}
	}
	if len(refused) == 0 {
		return cmds, err
	}
	if err := script.Load(ctx, s.rdb).Err(); err != nil {
		return cmds, fmt.Errorf("load the script: %w", err)
	}
	again, _ := s.evalEach(ctx, script, refused)
	for i, c := range cmds {
		if isNoScript(c.Err()) {
			cmds[i], again = again[0], again[1:]
		}
	}
	return cmds, firstError(cmds)
}

func (s *Store) evalEach(ctx context.Context, script *redis.Script, calls []scriptCall) ([]*redis.Cmd, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.Cmd, len(calls))
	for i, c := range calls {
		cmds[i] = pipe.EvalSha(ctx, script.Hash(), c.keys, c.args...)
	}
	_, err := pipe.Exec(ctx)
	return cmds, err
}

func firstError(cmds []*redis.Cmd) error {
	for _, c := range cmds {
		if c.Err() != nil {
			return c.Err()
		}
	}
	return nil
}
