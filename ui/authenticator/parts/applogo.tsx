// Owns an application's picture. The bytes are checked against the digest that is signed, and drawn
// from those bytes, so that no other picture can be shown. Without a logo: the name's first letter.

import { useEffect, useRef, useState } from "preact/hooks";
import "./applogo.css";

const hex = (bytes: ArrayBuffer) =>
  [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const square = (size: number) => ({ width: `${size}px`, height: `${size}px` });

async function fetchLogo(digest: string, signal: AbortSignal): Promise<ImageBitmap> {
  const answer = await fetch(`/device/v1/logos/${digest}`, { signal });
  if (!answer.ok) throw new Error(`logo: ${answer.status}`);
  const bytes = await answer.arrayBuffer();
  if (hex(await crypto.subtle.digest("SHA-256", bytes)) !== digest) throw new Error("logo: other bytes");
  return createImageBitmap(new Blob([bytes], { type: "image/png" }));
}

/** The picture for `name`; `digest` is the hex SHA-256 of its PNG, or "". */
export function AppLogo({ name, digest, size = 48 }: { name: string; digest: string; size?: number }) {
  const [picture, setPicture] = useState<ImageBitmap>();
  useEffect(() => {
    setPicture(undefined);
    if (!digest) return;
    const loading = new AbortController();
    // A logo that is missing or wrong leaves the letter: the request stays readable.
    fetchLogo(digest, loading.signal).then(
      (bitmap) => loading.signal.aborted || setPicture(bitmap),
      () => undefined,
    );
    return () => loading.abort();
  }, [digest]);
  return picture ? <Picture bitmap={picture} digest={digest} size={size} /> : <Letter name={name} size={size} />;
}

function Picture({ bitmap, digest, size }: { bitmap: ImageBitmap; digest: string; size: number }) {
  const ref = useRef<HTMLCanvasElement>(null);
  const pixels = Math.round(size * devicePixelRatio);
  useEffect(() => {
    const context = ref.current?.getContext("2d");
    if (!context) return;
    const scale = Math.min(pixels / bitmap.width, pixels / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    context.imageSmoothingQuality = "high";
    context.clearRect(0, 0, pixels, pixels);
    context.drawImage(bitmap, (pixels - width) / 2, (pixels - height) / 2, width, height);
  }, [bitmap, pixels]);
  return (
    <canvas
      ref={ref}
      class="applogo"
      width={pixels}
      height={pixels}
      style={square(size)}
      aria-hidden="true"
      data-testid="logo"
      data-digest={digest}
    />
  );
}

function Letter({ name, size }: { name: string; size: number }) {
  const [letter] = new Intl.Segmenter().segment(name.trim());
  return (
    <span class="applogo applogo--letter" style={{ ...square(size), fontSize: `${size * 0.46}px` }} aria-hidden="true">
      {letter?.segment.toUpperCase() ?? "?"}
    </span>
  );
}
