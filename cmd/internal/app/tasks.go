package app

import (
	"context"
	"errors"
	"sync"
)

// tasks run beside the instance until they are stopped, all at once: none of them needs another one to its end.
type tasks struct {
	cancel context.CancelFunc
	done   chan error // what they returned, when all have
}

// startTasks runs these, whose context ends with stop and not with ctx: tasks end in an order of their own.
func startTasks(ctx context.Context, runs ...func(context.Context) error) *tasks {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &tasks{cancel: cancel, done: make(chan error, 1)}
	errs := make([]error, len(runs))
	var running sync.WaitGroup
	for n, run := range runs {
		running.Go(func() { errs[n] = run(ctx) })
	}
	go func() {
		running.Wait()
		t.done <- errors.Join(errs...)
	}()
	return t
}

// stop ends the tasks, waits for them and returns their errors. What has not ended with ctx is left behind: the process ends.
func (t *tasks) stop(ctx context.Context) error {
	t.cancel()
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return nil
	}
}
