"""Answering: greedy decoding of many answers side by side.

Each answer has a seat: slots for keys and values, allocated once. All seats write their next token into the same slot,
however long they are: who joins later is seated so that its question ends where the others stand. When enough answers
are finished the others move together, and waiting questions take the free seats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unix_bench.models.unix.blocks import Blocks
from unix_bench.models.unix.context import Context
from unix_bench.models.unix.reading import Reader
from unix_bench.models.unix.replay import WARM_UP, Replay, new_pool
from unix_bench.models.unix.room import even_parts, rounded_up, samples_at_once

SEEN = 16  # images that are asked for at once, so that others can be prepared meanwhile
SHARE = 4  # those finished leave when they are one in so many
SLOTS, SEATS = 128, 8  # recorded steps look at multiples of so many, which few recordings cover


def write_answers(desk: Desk, pixels: Callable[[slice], Tensor], questions: Sequence[Sequence[int]]) -> list[list[int]]:
    """Answer all questions.

    Args:
        desk: Where; it has room for the longest question.
        pixels: Images of some questions, [n, 3, H, W]; asked for in order, each once.
        questions: Token lists, each a whole text segment with its bos and eos.

    Returns:
        New tokens of each answer, its end left out.

    Raises:
        ValueError: The model's scores are NaN or Inf.
    """
    answers: list[list[int]] = [[] for _ in questions]
    waiting = Waiting(desk.model, pixels, questions)
    desk.clear()
    while desk.seated or waiting.count:
        for number, answer in desk.leave():
            answers[number] = answer
        while waiting.count and desk.free:
            desk.seat(*waiting.next(desk.free))
        while desk.seated and not desk.many_finished():
            desk.write(lambda: waiting.look_ahead(desk.few))
    return answers


class Waiting:
    """Questions that have no seat yet, in order."""

    def __init__(self, model: Reader, pixels: Callable[[slice], Tensor], questions: Sequence[Sequence[int]]) -> None:
        self._model, self._pixels, self._questions = model, pixels, questions
        self._first = 0
        self._seen: Tensor | None = None  # of the first few
        self._aside = torch.cuda.Stream() if model.device.type == "cuda" else None
        if self._aside is not None:
            self._aside.wait_stream(torch.cuda.current_stream())  # the pixels may just have been made there

    @property
    def count(self) -> int:
        return len(self._questions) - self._first

    def next(self, most: int) -> tuple[range, Tensor, Sequence[Sequence[int]]]:
        """Numbers, images as the decoder is shown them, and texts of the next questions, at most so many."""
        shown, self._seen = self._seen, None
        if shown is None:
            shown = self._see(most)
        elif self._aside is not None:
            torch.cuda.current_stream().wait_stream(self._aside)
            shown.record_stream(torch.cuda.current_stream())
        part = range(self._first, self._first + len(shown))
        self._first = part.stop
        return part, shown, self._questions[part.start : part.stop]

    def look_ahead(self, few: int) -> None:
        """Look at the images of the next few questions while the GPU is busy with answers."""
        if self._aside is not None and self._seen is None and self.count:
            with torch.cuda.stream(self._aside):
                self._seen = self._see(few)

    def _see(self, most: int) -> Tensor:
        first, last = self._first, min(self._first + most, len(self._questions))
        parts = [slice(start, min(start + SEEN, last)) for start in range(first, last, SEEN)]
        return torch.cat([self._model.see(self._pixels(part)) for part in parts])


class Desk:
    """The seats and what is written at them. What a step needs lies on the device; the host looks at it now and then.

    Attributes:
        model: Whose weights, and whose ways to be fast, are used.
        seats: How many there are.
        question, longest, end: As `__init__` has them.
        seated: Numbers of the questions, by seat.
    """

    def __init__(self, model: Reader, seats: int, question: int, longest: int, end: int) -> None:
        """Allocate all seats.

        Args:
            model: Whose weights, and whose ways to be fast, are used.
            seats: How many answers are written side by side.
            question: Tokens of a question at most.
            longest: Tokens of an answer at most, at least one.
            end: Token that ends one.
        """
        self.model, self.seats, self.question, self.longest, self.end = model, seats, question, longest, end
        self._room = model.image_tokens + question
        # Who joins late is seated behind an answer that may be all but finished.
        capacity = self._room + 2 * longest + model.speed.look_every + (WARM_UP if model.speed.graphs else 0)
        if model.speed.graphs:
            capacity = rounded_up(capacity, SLOTS)
        config, like = model.config.language, model.latent_in.weight
        store = Context.empty(config, seats, capacity, like)
        self._keys, self._values, self._positions = store.keys, store.values, store.positions
        self._seen = like.new_full((seats, 1, 1, capacity), float("-inf"))  # what is added to scores
        self._last = self._positions.new_zeros(seats, 1)
        self._words = self._positions.new_zeros(seats, longest + 1)
        self._counts = self._positions.new_zeros(seats)
        self._open, self._broken = (torch.zeros(seats, dtype=torch.bool, device=model.device) for _ in range(2))
        self._slot = self._positions.new_zeros(1)  # that the next token is written into
        self._replays: dict[tuple[int, int], Replay[None]] = {}
        self._pool = new_pool(model.device)
        self._read_at_once = samples_at_once(config, self._room, like.dtype, like.device)
        self.clear()

    def clear(self) -> None:
        """Send everybody away, as at the start."""
        # What lies on the device, as the host knows it.
        self.seated: list[int] = []
        self._unfinished: list[bool] = []
        self._starts: list[int] = []  # a seat's first slot in use
        self._length = 0  # slots in use
        self._open.zero_()
        self._broken.zero_()

    @property
    def free(self) -> int:
        return self.seats - len(self.seated)

    @property
    def few(self) -> int:
        """So many leave together while all seats are taken."""
        return max(1, self.seats // SHARE)

    def many_finished(self) -> bool:
        """Is it time for those finished to leave?"""
        finished = self._unfinished.count(False)
        few = min(self.few, max(1, len(self.seated) // SHARE)) if self.model.speed.retire else len(self.seated)
        return finished >= few

    def seat(self, numbers: Sequence[int], shown: Tensor, texts: Sequence[Sequence[int]]) -> None:
        """Read images and questions into free seats.

        Args:
            numbers: Of the questions.
            shown: Their images, [n, patches, width].
            texts: Their tokens.
        """
        first = len(self.seated)
        seats = slice(first, first + len(numbers))
        if not self.seated:
            self._go_to(self._room)
        start = self._length - self.model.image_tokens - max(map(len, texts))
        self._seen[seats] = float("-inf")
        blocks = self.model.new_blocks()
        for part in even_parts(len(numbers), self._read_at_once):
            self._read_into(slice(first + part.start, first + part.stop), start, shown[part], texts[part], blocks)
        self._last[seats] = self.model.config.special_tokens.bos_token_id
        self._counts[seats] = 0
        self._open[seats] = True
        self.seated += numbers
        self._unfinished += [True] * len(numbers)
        self._starts += [start] * len(numbers)

    def _read_into(
        self, seats: slice, start: int, shown: Tensor, texts: Sequence[Sequence[int]], blocks: Blocks | None
    ) -> None:
        """Read into seats, from a slot on; shorter questions leave their last slots empty."""
        keys, values = ([layer[seats, :, start:] for layer in kind] for kind in (self._keys, self._values))
        context = Context(keys, values, torch.zeros_like(self._positions[seats]), blocks=blocks)
        self.model.take_in_images(shown, context)
        self.model.take_in_text(texts, context, self._length - start - context.length)
        seen = self._seen[seats, 0, 0, start : self._length]
        if context.valid is None:
            seen.zero_()
        else:
            seen.masked_fill_(context.valid[:, : context.length], 0.0)
        self._positions[seats] = context.positions

    def leave(self) -> list[tuple[int, list[int]]]:
        """Take away finished answers, with the numbers of their questions, and move the others together."""
        if all(self._unfinished):
            return []
        words, counts = self._words.tolist(), self._counts.tolist()
        done = [seat for seat, unfinished in enumerate(self._unfinished) if not unfinished]
        found = [(self.seated[seat], words[seat][: counts[seat]]) for seat in done]
        self._move_together([seat for seat, unfinished in enumerate(self._unfinished) if unfinished])
        return found

    def _move_together(self, kept: list[int]) -> None:
        """Give seats that stay the first places, and bring their last tokens as far to the front as questions allow."""
        starts = [self._starts[seat] for seat in kept]
        self.seated = [self.seated[seat] for seat in kept]
        self._unfinished = [True] * len(kept)
        before, used = self._length, self._length - min(starts, default=self._length)
        self._go_to(max(used, self._room))
        self._starts = [start + self._length - before for start in starts]
        rows = torch.tensor(kept, dtype=torch.int64, device=self._slot.device)
        old, new = slice(before - used, before), slice(self._length - used, self._length)
        for layer in (*self._keys, *self._values):
            layer[: len(kept), :, new] = layer[rows, :, old]
        seen = self._seen[rows, :, :, old]
        self._seen.fill_(float("-inf"))
        self._seen[: len(kept), :, :, new] = seen
        for state in (self._positions, self._last, self._words, self._counts):
            state[: len(kept)] = state[rows]
        self._open.zero_()
        self._open[: len(kept)] = True

    def _go_to(self, length: int) -> None:
        self._length = length
        self._slot.fill_(length)

    def write(self, meanwhile: Callable[[], None]) -> None:
        """Have the next tokens of all seats written, and meanwhile do something else; then look who is finished.

        Raises:
            ValueError: The model's scores are NaN or Inf.
        """
        seats, look_every = len(self.seated), self.model.speed.look_every
        for _ in range(look_every):
            self._step(seats)
        meanwhile()
        self._unfinished = self._open[:seats].tolist()
        if self._broken[:seats].any():
            raise ValueError("the model's scores of the next word are NaN or Inf")

    def _step(self, seats: int) -> None:
        self._length += 1
        if not self.model.speed.graphs:
            self._advance(seats, self._length)
            return
        key = min(rounded_up(seats, SEATS), self.seats), rounded_up(self._length, SLOTS)
        if key not in self._replays:
            changed = (self._seen, self._words, self._counts, self._open, self._broken, self._last, self._positions)
            self._replays[key] = Replay(lambda: self._advance(*key), (), (*changed, self._slot), self._pool)
        self._replays[key]()

    def _advance(self, seats: int, reach: int) -> None:
        """One token of the first seats, which see the first slots; nothing here waits for the device."""
        model, unfinished = self.model, self._open[:seats]
        self._seen[:seats].index_fill_(3, self._slot, 0.0)
        embedded = model.language.embed_tokens(self._last[:seats])
        positions, mask = self._positions[:seats, None], self._seen[:seats, :, :, :reach]
        hidden = model.language.read(embedded, positions, _Within(self, reach), mask, model.kernels)
        scores = model.logits(hidden[:, 0])
        token = scores.argmax(-1, keepdim=True)
        self._broken[:seats] |= unfinished & ~scores.gather(1, token)[:, 0].isfinite()
        self._words[:seats].scatter_(1, self._counts[:seats, None], token)
        unfinished &= token[:, 0] != self.end
        self._counts[:seats] += unfinished
        unfinished &= self._counts[:seats] < self.longest
        self._last[:seats] = token
        self._positions[:seats] += 1
        self._slot += 1

    def keep(self, layer: int, k: Tensor, v: Tensor, reach: int) -> tuple[Tensor, Tensor]:
        """Put a token's keys and values [seats, kv_heads, 1, head_dim] into its slot; returns all in reach."""
        keys, values = self._keys[layer][: len(k)], self._values[layer][: len(v)]
        return (
            keys.index_copy_(2, self._slot, k)[:, :, :reach],
            values.index_copy_(2, self._slot, v)[:, :, :reach],
        )


class _Within:
    """The desk as a layer sees it, up to a slot."""

    blocks = None  # a token's products are small

    def __init__(self, desk: Desk, reach: int) -> None:
        self._desk, self._reach = desk, reach

    def write(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self._desk.keep(layer, k, v, self._reach)
