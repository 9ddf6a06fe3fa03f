package domain

import (
	"context"
	"fmt"
	"time"
)

// Missing is what a script did not find in Redis.
type Missing string

const (
	MissingNothing    Missing = ""
	MissingGroup      Missing = "group"      // it is not cached
	MissingSeed       Missing = "seed"       // nor are its numbers in this generation
	MissingGeneration Missing = "generation" // the caller's is another one
	MissingMessage    Missing = "message"    // Redis does not have it, MySQL may
)

const (
	missingDeadline = 5 * time.Second
	missingTries    = 5                      // a recall may miss four things, one after the other
	missingPause    = 100 * time.Millisecond // after a recovery that failed
)

// lack is what is missing, and where: SignalOutcome and RecallOutcome without what they mean.
type lack struct {
	Missing   Missing
	Partition int
	Gen       int64
}

// untilNothingIsMissing tries, and has what is missing brought back, for 5 s at most. An error of try ends it: what was tried
// may have happened.
func untilNothingIsMissing(ctx context.Context, try func(context.Context) (lack, error), fill func(context.Context, lack) error) error {
	ctx, cancel := context.WithTimeout(ctx, missingDeadline)
	defer cancel()
	var failed error // of the last recovery
	for range missingTries {
		what, err := try(ctx)
		if err != nil || what.Missing == MissingNothing {
			return err
		}
		failed = fill(ctx, what)
		if code := CodeOf(failed); failed != nil && (!code.Retryable() || code == CodeOverloaded) {
			return failed
		}
		if failed != nil && !pause(ctx, missingPause) {
			break
		}
	}
	return Unavailable(failed, "Redis or MySQL")
}

// fill brings back into Redis what is missing of a group.
func (r *Recovery) fill(ctx context.Context, group string, what lack) error {
	switch what.Missing {
	case MissingGroup:
		return r.Load(ctx, group, false)
	case MissingSeed:
		return r.Seed(ctx, what.Partition, what.Gen, []string{group})
	case MissingGeneration:
		return r.Renew(ctx, what.Partition, what.Gen)
	}
	return fmt.Errorf("group %s: unknown outcome %q", group, what.Missing)
}

// asRefusal passes nil and refusals on, and calls everything else Redis being away.
func asRefusal(err error, what string) error {
	if CodeOf(err) != CodeInternal {
		return err
	}
	return Unavailable(fmt.Errorf("%s: %w", what, err), "Redis")
}

// pause reports whether it came to its end before ctx did.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
