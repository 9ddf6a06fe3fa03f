package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/rs/zerolog"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/s3blob" // s3:// of uploads.bucket_url

	"hearth/configs"
	"hearth/transport/httpapi"
)

// openUploads opens where uploads are kept; nil when there are none. A folder that cannot be written is a reason to have no
// uploads, not to have no chat: it is logged.
func openUploads(ctx context.Context, cfg configs.Uploads, log zerolog.Logger) (*blob.Bucket, error) {
	switch {
	case cfg.BucketURL != "":
		bucket, err := blob.OpenBucket(ctx, cfg.BucketURL)
		if err != nil {
			return nil, fmt.Errorf("uploads.bucket_url: %w", err)
		}
		return bucket, nil
	case cfg.Dir == "":
		return nil, nil
	}
	bucket, err := openFolder(cfg.Dir)
	if err != nil {
		log.Error().Err(err).Msg("uploads are off: their folder cannot be used (uploads.dir)")
		return nil, nil
	}
	return bucket, nil
}

// openFolder opens a folder that can be written. What is half there lies in the same folder, under names that are no
// keys: in the system's own it could not be renamed from one file system to the other.
func openFolder(dir string) (*blob.Bucket, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	probe, err := os.CreateTemp(dir, "probe.*.tmp")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name()), removeRests(dir, time.Now().Add(-24*time.Hour))); err != nil {
		return nil, err
	}
	return fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true})
}

// removeRests deletes what killed instances have left half done: no upload takes so long that it could still be coming.
func removeRests(dir string, before time.Time) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	for {
		entries, err := folder.ReadDir(1000)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) != ".tmp" {
				continue
			}
			// Another instance may be deleting it, too.
			if info, err := e.Info(); err == nil && info.ModTime().Before(before) {
				_ = os.Remove(filepath.Join(dir, e.Name()))
			}
		}
	}
}

// closeUploads closes what openUploads opened.
func closeUploads(bucket *blob.Bucket) error {
	if bucket == nil {
		return nil
	}
	return bucket.Close()
}

func uploadsConfig(cfg configs.Config, bucket *blob.Bucket) httpapi.Uploads {
	u := httpapi.Uploads{
		Bucket: bucket, Secret: []byte(cfg.Uploads.Secret.Reveal()),
		MaxBytes: cfg.Uploads.MaxBytes, ContentTypes: cfg.Uploads.ContentTypes, Expiry: cfg.Uploads.Expiry.D(),
		Rate: cfg.Uploads.Rate, Burst: cfg.Uploads.Burst, Concurrent: cfg.Uploads.Concurrent,
	}
	if len(u.Secret) == 0 {
		u.Secret = []byte(cfg.Auth.JWTHMACSecret.Reveal())
	}
	if cfg.Uploads.Direct {
		u.Direct = func(ctx context.Context, slot httpapi.UploadSlot) (string, map[string]string, error) {
			return signForS3(ctx, bucket, slot)
		}
	}
	return u
}

// signForS3 signs a PUT straight into the bucket: of these bytes, this type, and only if nothing is there.
func signForS3(ctx context.Context, bucket *blob.Bucket, slot httpapi.UploadSlot) (string, map[string]string, error) {
	headers := map[string]string{"Content-Type": slot.ContentType, "If-None-Match": "*"}
	for name, value := range slot.Metadata() {
		headers["X-Amz-Meta-"+name] = url.PathEscape(value)
	}
	uploadURL, err := bucket.SignedURL(ctx, slot.Key, &blob.SignedURLOptions{
		Method: http.MethodPut, Expiry: time.Until(slot.Expires),
		BeforeSign: func(as func(any) bool) error {
			var put *s3.PutObjectInput
			if !as(&put) {
				return errors.New("the bucket is not one of S3")
			}
			put.ContentType, put.ContentLength, put.IfNoneMatch = &slot.ContentType, &slot.Bytes, aws.String("*")
			put.Metadata = map[string]string{}
			for name, value := range slot.Metadata() {
				put.Metadata[name] = url.PathEscape(value)
			}
			return nil
		},
	})
	return uploadURL, headers, err
}
