package app

import "context"

// task is something that runs beside the instance until it is stopped.
type task struct {
	cancel context.CancelFunc
	done   chan error
}

// startTask runs f, whose context ends with stop and not with ctx: tasks end in an order of their own.
func startTask(ctx context.Context, f func(context.Context) error) *task {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &task{cancel: cancel, done: make(chan error, 1)}
	go func() { t.done <- f(ctx) }()
	return t
}

// stop ends the task, waits for it and returns its error. What has not ended with ctx is left behind: the process ends.
func (t *task) stop(ctx context.Context) error {
	t.cancel()
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return nil
	}
}
