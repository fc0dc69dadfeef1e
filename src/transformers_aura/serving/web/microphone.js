// The page's microphone: what is said goes to the server over a WebSocket, in order and without a gap, as 16-bit samples at the browser's rate.
//
// One message is under way at a time. The server answers each with what the page shows of the recording so far; what is said meanwhile goes into
// the next message. So a slow server shows captions less often, and loses nothing.
(() => {
  const SECONDS_PER_MESSAGE = 0.2;
  const MOST_SAMPLES = 1 << 18; // of a message
  const WORKLET = `registerProcessor("aura-samples", class extends AudioWorkletProcessor {
    process([[samples]]) {
      if (samples) this.port.postMessage(samples.slice());
      return true;
    }
  });`;

  let socket = null;
  let recording = null;

  const show = (id, name, value) => {
    const element = document.getElementById(id);
    if (element) element[name] = value;
  };
  const report = (text) => show("aura-status", "textContent", text);

  function connected() {
    if (socket && socket.readyState === WebSocket.OPEN) return Promise.resolve(socket);
    const visitor = document.querySelector("#aura-visitor textarea, #aura-visitor input").value;
    const address = new URL("aura/microphone", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    address.searchParams.set("visitor", visitor);
    return new Promise((resolve, reject) => {
      socket = new WebSocket(address);
      socket.onopen = () => resolve(socket);
      socket.onclose = (event) => reject(new Error(event.reason || "The connection to the server is lost. Reload the page."));
    });
  }

  function exchange(message) {
    return new Promise((resolve, reject) => {
      socket.onmessage = (event) => resolve(JSON.parse(event.data));
      socket.onclose = (event) => reject(new Error(event.reason || "The connection to the server is lost. Reload the page."));
      socket.send(message);
    });
  }

  function takeSamples(pending) {
    let size = 0;
    const parts = [];
    while (pending.length && size + pending[0].length <= MOST_SAMPLES) {
      parts.push(pending.shift());
      size += parts.at(-1).length;
    }
    const message = new DataView(new ArrayBuffer(2 * size));
    let place = 0;
    for (const part of parts)
      for (const sample of part) {
        message.setInt16(place, Math.max(-1, Math.min(1, sample)) * 32767, true);
        place += 2;
      }
    return message.buffer;
  }

  function showRecording(state) {
    if (state.picture) show("aura-picture", "src", state.picture);
    show("aura-captions", "textContent", state.captions);
    report(`Listening: ${state.seconds.toFixed(1)} s`);
  }

  async function send(current) {
    const enough = () => current.pending.length * 128 >= SECONDS_PER_MESSAGE * current.context.sampleRate;
    while (current.pending.length && (current.hasEnded || enough())) {
      const state = await exchange(takeSamples(current.pending));
      showRecording(state);
      if (state.is_full && !current.hasEnded) document.querySelector("#aura-stop").click();
    }
  }

  function sendSoon(current) {
    current.sending ??= send(current)
      .catch((error) => {
        current.error = error;
        report(error.message);
      })
      .finally(() => (current.sending = null));
    return current.sending;
  }

  async function start() {
    if (recording) return;
    try {
      if (!navigator.mediaDevices)
        throw new Error("Browsers give a microphone only to pages of their own machine and to https. A file can be uploaded all the same.");
      const media = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
      const context = new AudioContext();
      const module = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
      await context.audioWorklet.addModule(module);
      URL.revokeObjectURL(module);
      await connected();
      await exchange(JSON.stringify({ sampling_rate: context.sampleRate }));
      const current = { media, context, pending: [], sending: null, hasEnded: false, error: null };
      current.node = new AudioWorkletNode(context, "aura-samples", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
      current.node.port.onmessage = (event) => {
        current.pending.push(event.data);
        sendSoon(current);
      };
      context.createMediaStreamSource(media).connect(current.node);
      recording = current;
      document.body.classList.add("aura-recording");
      report("Listening");
    } catch (error) {
      report(error.message);
    }
  }

  // Resolves once the server has all that was said.
  async function stop() {
    const current = recording;
    if (!current) return;
    recording = null;
    document.body.classList.remove("aura-recording");
    await current.context.suspend(); // what was recorded until now is in the port
    await new Promise((resolve) => setTimeout(resolve, 0));
    current.hasEnded = true;
    current.media.getTracks().forEach((track) => track.stop());
    await current.sending;
    await sendSoon(current);
    await current.context.close();
    report(current.error ? current.error.message : "Thinking");
  }

  // Once the page is open: when its connection ends, the server knows that it was closed.
  const connect = () => connected().catch((error) => report(error.message));

  window.auraMicrophone = { connect, start, stop };
})();
