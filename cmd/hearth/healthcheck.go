package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// HealthcheckCmd is `hearth healthcheck`: what a container without curl asks itself.
type HealthcheckCmd struct {
	URL     string        `arg:"" optional:"" default:"http://127.0.0.1:8080/healthz" help:"What to ask (${default})."`
	Timeout time.Duration `default:"3s" help:"How long to wait for the answer."`
}

// Run is quiet when the answer is 200, and fails otherwise. It follows no redirects and uses no proxy: the answer
// must be the instance's own.
func (c *HealthcheckCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return usageError{err}
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s did not answer within %s", c.URL, c.Timeout)
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", c.URL, response.Status)
	}
	return nil
}
