package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/configs"
	"hearth/domain"
	"hearth/jobs"
	"hearth/mysqlrepo"
	"hearth/transport/webhook"
	"hearth/transport/wire"
)

// newGate makes what asks the app's back end about messages; nil when nobody is to be asked.
func newGate(
	cfg configs.Webhooks, metrics *webhook.Metrics, limits wire.Limits, heads domain.HeadCache, nowMS func() int64,
	log zerolog.Logger, reg prometheus.Registerer,
) (*webhook.Gate, error) {
	if cfg.BeforeSendURL == "" {
		return nil, nil
	}
	client, err := webhook.New(webhook.Config{
		URL: cfg.BeforeSendURL.Reveal(), Secret: cfg.Secret.Reveal(), Timeout: cfg.BeforeSendTimeout.D(), Metrics: metrics,
	})
	if err != nil {
		return nil, err
	}
	return webhook.NewGate(webhook.GateConfig{
		Client: client, Timeout: cfg.BeforeSendTimeout.D(), FailOpen: cfg.BeforeSendFailure == "open",
		Concurrency: cfg.BeforeSendConcurrency, NowMS: nowMS, Log: log, Register: reg,
		CheckBody: func(body []byte) ([]byte, error) { return wire.Body(body, limits) },
		TypeOf: func(ctx context.Context, group string) domain.GroupType {
			found, err := heads.Heads(ctx, "", []string{group})
			if err != nil {
				return "" // the message fares no better
			}
			return found[0].Type
		},
	}), nil
}

// newHooks makes the job that tells events and the client it does so by; nil when nobody is to be told.
func newHooks(
	cfg configs.Config, sql *mysqlrepo.DB, leases *jobs.Leases, metrics *webhook.Metrics, log zerolog.Logger, reg prometheus.Registerer,
) (*jobs.Hooks, *webhook.Client, error) {
	if cfg.Webhooks.URL == "" {
		return nil, nil, nil
	}
	client, err := webhook.New(webhook.Config{
		URL: cfg.Webhooks.URL.Reveal(), Secret: cfg.Webhooks.Secret.Reveal(), Timeout: cfg.Webhooks.Timeout.D(), Metrics: metrics,
	})
	if err != nil {
		return nil, nil, err
	}
	how := jobs.HooksConfig{
		Workers: cfg.Webhooks.Workers, MinRetry: cfg.Webhooks.RetryMin.D(), MaxRetry: cfg.Webhooks.RetryMax.D(), GiveUp: cfg.Webhooks.RetryFor.D(),
	}
	partitions := domain.Partitions(cfg.Redis.Partitions)
	return jobs.NewHooks(sql, poster{client}, leases, partitions, how, log, reg), client, nil
}

// poster is a webhook.Client as jobs want it.
type poster struct{ client *webhook.Client }

// Post tells an event once.
func (p poster) Post(ctx context.Context, h domain.Hook) error {
	_, err := p.client.Post(ctx, webhook.Event{ID: h.ID, Type: h.Event, TimeMS: h.TimeMS, Data: h.Data})
	var status *webhook.StatusError
	if errors.As(err, &status) && status.Status == http.StatusGone {
		return fmt.Errorf("%w: %w", jobs.ErrReceiverGone, err)
	}
	return err
}
